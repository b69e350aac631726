/* Every function of spawn.h, each asked for what it is for. Compiled as C and as C++, linked
 * to C libraries in all ways: it says where it failed, and else nothing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of newer C libraries, which this header may not have; nor the library, so that they are found
 * when the program is started, with the preload. */
#define WEAK __attribute__((weak))
#ifdef __cplusplus
extern "C" {
#endif
WEAK int pidfd_spawn(int *, const char *, const posix_spawn_file_actions_t *,
    const posix_spawnattr_t *, char *const *, char *const *);
WEAK int pidfd_spawnp(int *, const char *, const posix_spawn_file_actions_t *,
    const posix_spawnattr_t *, char *const *, char *const *);
WEAK int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *, const char *);
WEAK int posix_spawn_file_actions_addfchdir_np(posix_spawn_file_actions_t *, int);
WEAK int posix_spawn_file_actions_addchdir(posix_spawn_file_actions_t *, const char *);
WEAK int posix_spawn_file_actions_addfchdir(posix_spawn_file_actions_t *, int);
WEAK int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
WEAK int posix_spawn_file_actions_addtcsetpgrp_np(posix_spawn_file_actions_t *, int);
WEAK int posix_spawnattr_setcgroup_np(posix_spawnattr_t *, int);
WEAK int posix_spawnattr_getcgroup_np(const posix_spawnattr_t *, int *);
#ifdef __cplusplus
}
#endif

extern char **environ;

/* __WALL: one that has not executed anything yet has no exit signal. */
#define ANY_CHILD 0x40000000

static char spawns_failed;

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, errno); \
            exit(1); \
        } \
    } while (0)

/* Objects in the midst of others: what is beside them must stay. */
static struct {
    long before;
    posix_spawn_file_actions_t actions;
    long between;
    posix_spawnattr_t attributes;
    long after;
} objects;

/* Runs a program with the two objects, and returns how it exits. */
static int run(const char *name, const char *option, const char *word, const char *last)
{
    char *argv[] = {strdup(name), strdup(option), strdup(word), last ? strdup(last) : NULL, NULL};
    pid_t pid = -1;
    int status = -1;
    CHECK(posix_spawnp(&pid, name, &objects.actions, &objects.attributes, argv, environ) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    for (int n = 0; n < 4; n++)
        free(argv[n]);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A shell command. */
static int exits(const char *command)
{
    return run("sh", "-c", command, NULL);
}

/* Whether a child has such a line in its status. (A shell would open its mask.) */
static int has_status(const char *line)
{
    return run("grep", "-q", line, "/proc/self/status") == 0;
}

static void actions(void)
{
    posix_spawn_file_actions_t *a = &objects.actions;
    char name[] = "/tmp/rawspawn-functions-XXXXXX";
    int file = mkstemp(name);
    CHECK(file >= 0);

    CHECK(posix_spawn_file_actions_init(a) == 0);
    CHECK(posix_spawn_file_actions_addopen(a, 40, name, O_WRONLY | O_TRUNC, 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(a, 40, 41) == 0);
    CHECK(posix_spawn_file_actions_addclose(a, 40) == 0);
    CHECK(posix_spawn_file_actions_addchdir_np(a, "/usr") == 0);
    CHECK(exits("pwd > /proc/self/fd/41; test -e /proc/self/fd/40") == 1);
    char text[16] = "";
    CHECK(pread(file, text, sizeof text - 1, 0) == 5 && strcmp(text, "/usr\n") == 0);
    CHECK(posix_spawn_file_actions_destroy(a) == 0);
    unlink(name);

    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(posix_spawn_file_actions_init(a) == 0);
    CHECK(posix_spawn_file_actions_addchdir(a, "/usr") == 0);
    CHECK(posix_spawn_file_actions_addfchdir_np(a, root) == 0);
    CHECK(exits("test \"$(pwd)\" = /") == 0);
    CHECK(posix_spawn_file_actions_addchdir(a, "/usr") == 0);
    CHECK(posix_spawn_file_actions_addfchdir(a, root) == 0);
    CHECK(exits("test \"$(pwd)\" = /") == 0);
    CHECK(posix_spawn_file_actions_destroy(a) == 0);
    close(root);

    CHECK(posix_spawn_file_actions_init(a) == 0);
    CHECK(posix_spawn_file_actions_adddup2(a, 0, 50) == 0);
    CHECK(posix_spawn_file_actions_adddup2(a, 50, 50) == 0);
    CHECK(posix_spawn_file_actions_addclosefrom_np(a, 60) == 0);
    CHECK(exits("test -e /proc/self/fd/50") == 0);
    CHECK(posix_spawn_file_actions_addclosefrom_np(a, 3) == 0);
    CHECK(exits("test -e /proc/self/fd/50") == 1);
    /* No terminal. */
    CHECK(posix_spawn_file_actions_addopen(a, 9, "/dev/null", O_RDWR, 0) == 0);
    CHECK(posix_spawn_file_actions_addtcsetpgrp_np(a, 9) == 0);
    char program[] = "true";
    char *argv[] = {program, NULL};
    CHECK(posix_spawnp(NULL, "true", a, NULL, argv, environ) == ENOTTY);
    CHECK(posix_spawn_file_actions_destroy(a) == 0);

    /* What can be no descriptor is refused at once. */
    CHECK(posix_spawn_file_actions_init(a) == 0);
    CHECK(posix_spawn_file_actions_addclose(a, -1) == EBADF);
    CHECK(posix_spawn_file_actions_adddup2(a, 0, 1 << 30) == EBADF);
    CHECK(posix_spawn_file_actions_adddup2(a, -1, 0) == EBADF);
    CHECK(posix_spawn_file_actions_addopen(a, -1, "/", O_RDONLY, 0) == EBADF);
    CHECK(posix_spawn_file_actions_addclosefrom_np(a, -1) == EBADF);
    CHECK(posix_spawn_file_actions_addtcsetpgrp_np(a, -1) == EBADF);
#ifdef __GLIBC__
    /* This one glibc leaves to the spawn. */
    CHECK(posix_spawn_file_actions_addfchdir_np(a, -1) == 0);
    CHECK(posix_spawnp(NULL, "true", a, NULL, argv, environ) == EBADF);
    CHECK(posix_spawn_file_actions_destroy(a) == 0);
    CHECK(posix_spawn_file_actions_init(a) == 0);
#else
    CHECK(posix_spawn_file_actions_addfchdir_np(a, -1) == EBADF);
    CHECK(posix_spawn_file_actions_addfchdir(a, -1) == EBADF);
#endif
    /* More than fit the first room, and a stack, and 16 bits. */
    for (int n = 0; n < 70000; n++)
        CHECK(posix_spawn_file_actions_adddup2(a, 0, 10 + n % 20) == 0);
    CHECK(exits("exit 7") == 7);
    CHECK(posix_spawn_file_actions_destroy(a) == 0);
    CHECK(posix_spawn_file_actions_init(a) == 0);
}

static void attributes(void)
{
    posix_spawnattr_t *a = &objects.attributes;
    short flags;
    pid_t pgrp;
    int number;
    sigset_t one, all, got;
    struct sched_param param, got_param;
    memset(&param, 0, sizeof param);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigfillset(&all);

    CHECK(posix_spawnattr_init(a) == 0);
    CHECK(posix_spawnattr_getflags(a, &flags) == 0 && flags == 0);
    CHECK(posix_spawnattr_getpgroup(a, &pgrp) == 0 && pgrp == 0);
    CHECK(posix_spawnattr_setflags(a, 0x4000) == EINVAL);
    CHECK(posix_spawnattr_setpgroup(a, 77) == 0);
    CHECK(posix_spawnattr_getpgroup(a, &pgrp) == 0 && pgrp == 77);
    CHECK(posix_spawnattr_setsigmask(a, &one) == 0);
    CHECK(posix_spawnattr_getsigmask(a, &got) == 0 && memcmp(&got, &one, sizeof got) == 0);
    CHECK(posix_spawnattr_setsigdefault(a, &all) == 0);
    CHECK(posix_spawnattr_getsigdefault(a, &got) == 0 && memcmp(&got, &all, sizeof got) == 0);
    CHECK(posix_spawnattr_setschedpolicy(a, SCHED_RR) == 0);
    CHECK(posix_spawnattr_getschedpolicy(a, &number) == 0 && number == SCHED_RR);
    param.sched_priority = 5;
    CHECK(posix_spawnattr_setschedparam(a, &param) == 0);
    CHECK(posix_spawnattr_getschedparam(a, &got_param) == 0 && got_param.sched_priority == 5);
    CHECK(posix_spawnattr_setcgroup_np(a, 9) == 0);
    CHECK(posix_spawnattr_getcgroup_np(a, &number) == 0 && number == 9);

    flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    CHECK(posix_spawnattr_setflags(a, flags) == 0);
    CHECK(posix_spawnattr_setpgroup(a, 0) == 0);
    signal(SIGUSR2, SIG_IGN);
    /* SIGUSR1 is 10, bit 9. */
    CHECK(has_status("^SigBlk:.*0200$"));
    CHECK(has_status("^SigIgn:.*0000000000000000$"));
    CHECK(exits("read -r pid comm state ppid pgrp rest < /proc/self/stat; test $pgrp = $$") == 0);
    signal(SIGUSR2, SIG_DFL);

    CHECK(posix_spawnattr_setflags(a, POSIX_SPAWN_SETSID) == 0);
    CHECK(exits("read -r a b c d e sid rest < /proc/self/stat; test $sid = $$") == 0);
    CHECK(posix_spawnattr_setflags(a, POSIX_SPAWN_RESETIDS) == 0);
    CHECK(exits("exit 3") == 3);
    /* A priority that this policy does not have. */
    CHECK(posix_spawnattr_setflags(a, POSIX_SPAWN_SETSCHEDPARAM) == 0);
    char program[] = "true";
    char *argv[] = {program, NULL};
    CHECK(posix_spawnp(NULL, "true", NULL, a, argv, environ) == EINVAL);
    CHECK(posix_spawnattr_setschedpolicy(a, SCHED_OTHER) == 0);
    param.sched_priority = 0;
    CHECK(posix_spawnattr_setschedparam(a, &param) == 0);
    CHECK(posix_spawnattr_setflags(a, POSIX_SPAWN_SETSCHEDULER) == 0);
    CHECK(exits("exit 4") == 4);
    /* No cgroup. */
    CHECK(posix_spawnattr_setflags(a, 0x100) == 0);
    static const int cgroups[] = {0, 99, -1, -100, INT_MIN};
    for (int n = 0; n < 5; n++) {
        CHECK(posix_spawnattr_setcgroup_np(a, cgroups[n]) == 0);
        /* The kernel takes a negative number for one that is too large. */
        int expected = cgroups[n] < 0 ? EINVAL : EBADF;
        CHECK(posix_spawnp(NULL, "true", NULL, a, argv, environ) == expected);
    }
    CHECK(posix_spawnattr_destroy(a) == 0);
    CHECK(posix_spawnattr_init(a) == 0);
}

static void errors(void)
{
    char program[] = "program", value[] = "V=1";
    char *argv[] = {program, NULL}, *envp[] = {value, NULL}, *none[] = {NULL};
    pid_t pid = 12345;
    CHECK(posix_spawn(&pid, "/missing", NULL, NULL, argv, envp) == ENOENT);
    CHECK(posix_spawnp(&pid, "missing-program", NULL, NULL, argv, envp) == ENOENT);
    CHECK(posix_spawnp(&pid, "", NULL, NULL, argv, envp) == ENOENT);
    /* A path with no place that could be one. */
    char *path = strdup(getenv("PATH")), *longer = (char *)malloc(5000);
    memset(longer, 'x', 4999);
    longer[4999] = 0;
    setenv("PATH", longer, 1);
    CHECK(posix_spawnp(&pid, "true", NULL, NULL, argv, envp) == ENOENT);
    setenv("PATH", path, 1);
    free(path);
    free(longer);
    CHECK(posix_spawn(&pid, "/etc/passwd", NULL, NULL, argv, envp) == EACCES);
    CHECK(posix_spawn(&pid, "/etc/passwd/x", NULL, NULL, argv, envp) == ENOTDIR);
    CHECK(pid == 12345);
    CHECK(waitpid(-1, NULL, ANY_CHILD | WNOHANG) == -1 && errno == ECHILD);
    /* No environment, and a name that is a path. */
    CHECK(posix_spawnp(&pid, "/bin/true", NULL, NULL, argv, none) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(posix_spawn(NULL, "/bin/true", NULL, NULL, argv, envp) == 0);
    CHECK(wait(&status) > 0 && status == 0);
}

static void pidfds(void)
{
    char name[] = "sh", option[] = "-c", command[] = "exit 9";
    char *argv[] = {name, option, command, NULL};
    for (int searches = 0; searches < 2; searches++) {
        int fd = -1;
        int result = searches ? pidfd_spawnp(&fd, "sh", NULL, NULL, argv, environ)
                              : pidfd_spawn(&fd, "/bin/sh", NULL, NULL, argv, environ);
        CHECK(result == 0 && fd >= 0);
        siginfo_t info;
        CHECK(waitid((idtype_t)3 /* P_PIDFD */, (id_t)fd, &info, WEXITED) == 0);
        CHECK(info.si_status == 9);
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
        close(fd);
        CHECK((searches ? pidfd_spawnp : pidfd_spawn)(&fd, "/missing", NULL, NULL, argv, environ)
            == ENOENT);
    }
}

/* Is cancelled as soon as it may be, and never between the clone and the end of a child. */
static void *spawns(void *nothing)
{
    char name[] = "missing";
    char *argv[] = {name, NULL};
    int ignored;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &ignored);
    for (;;) {
        pid_t pid;
        if (posix_spawn(&pid, "/missing", NULL, NULL, argv, environ) != ENOENT)
            return &spawns_failed;
        /* For musl, which does not look when cancellation is enabled again. */
        pthread_testcancel();
    }
    return nothing;
}

static void cancellation(void)
{
    for (int round = 0; round < 300; round++) {
        void *result;
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, spawns, NULL) == 0);
        usleep(200 + (unsigned)round);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result != &spawns_failed);
        /* One that was left would be a zombie. */
        CHECK(waitpid(-1, NULL, ANY_CHILD | WNOHANG) == -1 && errno == ECHILD);
    }
}

static volatile pid_t told;
static volatile int reaped, unknown;

static void reaps(int signal)
{
    pid_t pid = waitpid(-1, NULL, WNOHANG);
    unknown += pid != told;
    reaped++;
    (void)signal;
}

/* A handler that reaps a child knows which that is: the pid comes first. */
static void handlers(void)
{
    char name[] = "true";
    char *argv[] = {name, NULL};
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signal(SIGCHLD, reaps);
    for (int n = 1; n <= 1000; n++) {
        CHECK(posix_spawn((pid_t *)&told, "/bin/true", NULL, NULL, argv, environ) == 0);
        sigprocmask(SIG_BLOCK, &child, &before);
        while (reaped < n)
            sigsuspend(&before);
        sigprocmask(SIG_SETMASK, &before, NULL);
    }
    signal(SIGCHLD, SIG_DFL);
    CHECK(unknown == 0);
}

/* The child of `parent` that is not this process: 0 if there is none yet, -1 if that is not said. */
static pid_t other_child(pid_t parent)
{
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    int file = open(path, O_RDONLY), length = (int)read(file, text, sizeof text - 1);
    close(file);
    if (length < 0)
        return -1;
    for (char *rest = text; *rest != 0; rest += *rest != 0) {
        pid_t pid = (pid_t)strtol(rest, &rest, 10);
        if (pid != getpid())
            return pid;
    }
    return 0;
}

static char folder[] = "/tmp/rawspawn-functions-XXXXXX", fifo[64];

/* Has the next child wait in its one file action, until a helper has sent it a signal. The helper
 * exits with 1 where it cannot find the child, 2 if something is wrong. */
static pid_t signals_the_child(int signal)
{
    memcpy(strchr(folder, '\0') - 6, "XXXXXX", 6);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    CHECK(mkfifo(fifo, 0600) == 0);
    pid_t parent = getpid(), helper = fork(), child = 0;
    if (helper == 0) {
        alarm(60);
        while ((child = other_child(parent)) == 0)
            usleep(1000);
        if (child > 0 && kill(child, signal) != 0)
            _exit(2);
        /* It goes on, if it is there: a signal that kills has ended its wait. */
        int file = open(fifo, O_RDONLY | (child > 0 && signal == SIGKILL ? O_NONBLOCK : 0));
        _exit(file < 0 ? 2 : child < 0);
    }
    CHECK(posix_spawn_file_actions_addopen(&objects.actions, 9, fifo, O_WRONLY, 0) == 0);
    return helper;
}

/* Whether the helper has found the child. */
static int has_signalled(pid_t helper)
{
    int status;
    CHECK(waitpid(helper, &status, 0) == helper && WIFEXITED(status) && WEXITSTATUS(status) < 2);
    if (WEXITSTATUS(status) == 1)
        puts("skipped: a child that waits, for want of /proc/PID/task/TID/children");
    CHECK(posix_spawn_file_actions_destroy(&objects.actions) == 0);
    CHECK(posix_spawn_file_actions_init(&objects.actions) == 0);
    unlink(fifo);
    rmdir(folder);
    return WEXITSTATUS(status) == 0;
}

/* A child that is killed before its exec is there to be waited for, as an ordinary one. */
static void killed(void)
{
    char name[] = "true";
    char *argv[] = {name, NULL};
    pid_t helper = signals_the_child(SIGKILL), pid = -1;
    int status = -1, result = posix_spawn(&pid, "/bin/true", &objects.actions, NULL, argv, environ);
    CHECK(result == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (has_signalled(helper))
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static volatile int alarms;

static void counts(int signal)
{
    alarms++;
    (void)signal;
}

/* Signals to the process group, all the time: the pid is that of a child, and its status says that
 * a signal has killed it, or what it exited with. */
static void flood(void)
{
    enum { SPAWNS = 300 };
    pid_t leader = fork();
    int status;
    if (leader == 0) {
        setpgid(0, 0);
        signal(SIGUSR1, counts);
        pid_t self = getpid(), other = fork();
        if (other == 0) {
            signal(SIGUSR1, SIG_IGN);
            alarm(120);
            while (getppid() == self) {
                kill(0, SIGUSR1);
                usleep(20);
            }
            _exit(0);
        }
        alarm(120);
        char name[] = "sh", option[] = "-c", command[] = "exit 3";
        char *argv[] = {name, option, command, NULL};
        int by_signal = 0, errors = 0;
        for (int n = 0; n < SPAWNS; n++) {
            pid_t pid = -1;
            int result = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), child = -1;
            errors += result != 0;
            if (result != 0)
                continue;
            while (waitpid(pid, &child, 0) == -1)
                CHECK(errno == EINTR);
            int is_killed = WIFSIGNALED(child) && WTERMSIG(child) == SIGUSR1;
            CHECK(is_killed || (WIFEXITED(child) && WEXITSTATUS(child) == 3));
            by_signal += is_killed;
        }
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
        printf("functions: under a flood of signals %d of %d spawns return 0, %d children killed\n",
            SPAWNS - errors, SPAWNS, by_signal);
        fflush(stdout);
        /* Or there was no flood. */
        _exit(errors != 0 || by_signal == 0 || alarms == 0);
    }
    CHECK(waitpid(leader, &status, 0) == leader && status == 0);
}

/* A signal that the program is to have blocked waits for it, from the start of the child on. */
static void pending(void)
{
    pid_t helper = signals_the_child(SIGTERM);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    CHECK(posix_spawnattr_setsigmask(&objects.attributes, &term) == 0);
    CHECK(posix_spawnattr_setflags(&objects.attributes, POSIX_SPAWN_SETSIGMASK) == 0);
    int is_pending = has_status("^ShdPnd:.*4000$");
    CHECK(posix_spawnattr_init(&objects.attributes) == 0);
    if (has_signalled(helper))
        CHECK(is_pending);
}

static void *spawns_once(void *nothing)
{
    char name[] = "true";
    char *argv[] = {name, NULL};
    pid_t pid;
    if (posix_spawnp(&pid, "true", NULL, NULL, argv, environ) || waitpid(pid, NULL, 0) != pid)
        return &spawns_failed;
    return nothing;
}

/* The first spawn, which takes most, where there is the least stack. */
static void little_stack(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    void *result;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 16384) == 0);
    CHECK(pthread_create(&thread, &attributes, spawns_once, NULL) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result != &spawns_failed);
    pthread_attr_destroy(&attributes);
}

static const char *topic = "";

static void too_long(int signal)
{
    static const char text[] = "functions: not done in five minutes: ";
    (void)!write(2, text, sizeof text - 1);
    (void)!write(2, topic, strlen(topic));
    (void)!write(2, "\n", 1);
    _exit(1);
    (void)signal;
}

/* With an argument: looks for a program of that name. */
int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        {"little_stack", little_stack},
        {"actions", actions},
        {"attributes", attributes},
        {"errors", errors},
        {"pidfds", pidfds},
        {"cancellation", cancellation},
        {"handlers", handlers},
        {"pending", pending},
        {"killed", killed},
        {"flood", flood},
    };
    if (argc > 1)
        return posix_spawnp(NULL, argv[1], NULL, NULL, argv, environ);
    signal(SIGALRM, too_long);
    alarm(300);
    objects.before = 1, objects.between = 2, objects.after = 3;
    CHECK(posix_spawn_file_actions_init(&objects.actions) == 0);
    CHECK(posix_spawnattr_init(&objects.attributes) == 0);
    for (unsigned n = 0; n < sizeof tests / sizeof tests[0]; n++) {
        topic = tests[n].name;
        tests[n].test();
    }
    CHECK(posix_spawn_file_actions_destroy(&objects.actions) == 0);
    CHECK(objects.before == 1 && objects.between == 2 && objects.after == 3);
    return 0;
}
