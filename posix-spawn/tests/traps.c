/* Filters that refuse a call from the start, or from the first spawn on: by an error number, or by a
 * trap whose handler answers for the kernel. Each spawn must come out as if the kernel had never had
 * the call. It says where it failed, and else how many there were. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;
#define WEAK __attribute__((weak))
WEAK int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);

static const struct {
    const char *name;
    int number;
} calls[] = {
    {"clone3", 435},
    {"close_range", 436},
    {"pidfd_open", 434},
    {"execveat", SYS_execveat},
    {"memfd_create", SYS_memfd_create},
    {"wait4", SYS_wait4},
    {"waitid", SYS_waitid},
};
enum { CALLS = sizeof calls / sizeof calls[0] };

/* For all of them but the last, as there must be a way to wait. */
#define ALL CALLS

static char what[128];

static void fail(const char *why, int number)
{
    fprintf(stderr, "traps: %s: %s (%d, %s)\n", what, why, number, strerror(number));
    _exit(1);
}

static volatile int traps;

/* Answers in the place of the kernel. */
static void answer(int signal, siginfo_t *info, void *place)
{
    ucontext_t *context = place;
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
    context->uc_mcontext.regs[0] = (unsigned long long)-ENOSYS;
#elif defined(__riscv)
    context->uc_mcontext.__gregs[REG_A0] = (unsigned long)-ENOSYS;
#endif
    traps++;
    (void)signal, (void)info;
}

/* Has the kernel do `action` instead of call number `call`, or of all. */
static void install(int call, unsigned action)
{
    struct sock_filter filter[2 * CALLS + 2];
    unsigned short length = 0;
    filter[length++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int n = 0; n < CALLS; n++) {
        if (call == ALL ? n == CALLS - 1 : call != n)
            continue;
        filter[length++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[n].number, 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        fail("no filter", errno);
}

/* Waits for `pid`, or for any child if it is -1, by the call that is there. What it exits with; -1 if there
 * is none, -2 if a signal has killed it. */
static int wait_for(pid_t pid)
{
    int status;
    if (syscall(SYS_wait4, pid, &status, 0x40000000 /* __WALL */, NULL) > 0)
        return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
    if (errno != ENOSYS && errno != EPERM)
        return -1;
    siginfo_t info;
    if (syscall(SYS_waitid, pid == -1 ? P_ALL : P_PID, pid, &info, WEXITED | 0x40000000, NULL) != 0)
        return -1;
    return info.si_code == CLD_EXITED ? info.si_status : -2;
}

/* The shell says whether descriptors 20 and 60 are open. */
static int spawn(const posix_spawn_file_actions_t *actions)
{
    char name[] = "sh", option[] = "-c";
    char command[] = "test -e /proc/self/fd/20 && s=1; test -e /proc/self/fd/60 && s=${s}1; exit $((2$s))";
    char *argv[] = {name, option, command, NULL};
    pid_t pid;
    int result = posix_spawn(&pid, "/bin/sh", actions, NULL, argv, environ);
    if (result != 0)
        fail("spawn", result);
    int status = wait_for(pid);
    if (status == -1)
        fail("no child", errno);
    result = posix_spawn(&pid, "/missing", actions, NULL, argv, environ);
    if (result != (actions == NULL ? ENOENT : EEXIST))
        fail("a program that is missing", result);
    /* Not of what was found out, nor of what has failed. */
    if (wait_for(-1) != -1)
        fail("a child is left", 0);
    return status;
}

static void run(int call, unsigned action, int late)
{
    struct sigaction handler;
    memset(&handler, 0, sizeof handler);
    handler.sa_sigaction = answer;
    handler.sa_flags = SA_SIGINFO;
    sigaction(SIGSYS, &handler, NULL);
    dup2(0, 60);
    char file[] = "/tmp/rawspawn-traps-XXXXXX";
    close(mkstemp(file));
    unlink(file);
    if (late && spawn(NULL) != 21)
        fail("the first spawn", 0);
    install(call, action);
    if (spawn(NULL) != 21)
        fail("descriptors of a plain spawn", 0);

    /* What a second child could not do again. */
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 20, file, O_CREAT | O_EXCL | O_RDWR, 0600);
    int result = spawn(&actions);
    if (result != 211)
        fail("descriptors of one that opens", result);
    unlink(file);
    posix_spawn_file_actions_addclosefrom_np(&actions, 50);
    result = spawn(&actions);
    unlink(file);
    if (result != 21)
        fail("descriptors of one that closes", result);
    posix_spawn_file_actions_destroy(&actions);
    if (action == SECCOMP_RET_TRAP && traps == 0 && call < 2)
        fail("nothing was trapped", 0);
    _exit(0);
}

int main(void)
{
    static const struct {
        const char *name;
        unsigned action;
    } answers[] = {
        {"ENOSYS", SECCOMP_RET_ERRNO | ENOSYS},
        {"EPERM", SECCOMP_RET_ERRNO | EPERM},
        {"a trap", SECCOMP_RET_TRAP},
    };
    int count = 0;
    for (int call = 0; call <= CALLS; call++)
        for (int answer = 0; answer < 3; answer++)
            for (int late = 0; late < 2; late++, count++) {
                snprintf(what, sizeof what, "%s, %s, %s", call == ALL ? "all" : calls[call].name,
                    answers[answer].name, late ? "late" : "early");
                pid_t pid = fork();
                int status = -1;
                if (pid == 0) {
                    alarm(60);
                    run(call, answers[answer].action, late);
                }
                waitpid(pid, &status, 0);
                if (WIFSIGNALED(status))
                    fail(WTERMSIG(status) == SIGALRM ? "not done in a minute" : "killed by a signal",
                        WTERMSIG(status));
                if (status != 0)
                    return 1;
            }
    printf("filters: %d of %d come out as without the call\n", count, count);
    return 0;
}
