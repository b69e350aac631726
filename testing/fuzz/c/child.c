// The program that the fuzzer spawns: it compares what it finds with what its arguments say it
// must find, and exits with 0, or with 10 and the position of the first argument that is not true.
//
// argv: a name, the file to which it says what it found instead, then KEY=VALUE...
// Static, so that it runs wherever it can be executed: without libraries, in another root, with no
// descriptor free.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

// What was found, as a text; what must be found is an argument.
static char found[8192];

static void number(const char *format, unsigned long long value) {
    snprintf(found, sizeof found, format, value);
}

// "DEV:INO" of what `stat` looked at.
static void file(int result, const struct stat *status) {
    if (result != 0)
        snprintf(found, sizeof found, "errno %d", errno);
    else
        snprintf(found, sizeof found, "%llx:%llx", (unsigned long long)status->st_dev,
                 (unsigned long long)status->st_ino);
}

static void text_of(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, found, sizeof found - 1);
    if (size < 0) {
        snprintf(found, sizeof found, "errno %d", errno);
    } else {
        found[size] = 0;
        found[strcspn(found, "\n")] = 0;
    }
    if (fd >= 0)
        close(fd);
}

// Each descriptor that must be looked at, in the order of `wanted`: "N:DEV:INO" or, if it is not
// open, "N:-". Of those below 100 that `wanted` leaves out, the ones that are open come first.
static void descriptors(const char *wanted) {
    char listed[100] = {0};
    size_t length = 0;
    for (const char *item = wanted; item && *item; item = strchr(item, ',')) {
        item += *item == ',';
        int fd = atoi(item);
        if (fd < 100)
            listed[fd] = 1;
    }
    for (int fd = 0; fd < 100; fd++)
        if (!listed[fd] && fcntl(fd, F_GETFD) >= 0)
            length += snprintf(found + length, sizeof found - length, "%d is open,", fd);
    for (const char *item = wanted; item && *item; item = strchr(item, ',')) {
        item += *item == ',';
        int fd = atoi(item);
        struct stat status;
        const char *comma = length ? "," : "";
        if (fstat(fd, &status) != 0)
            length += snprintf(found + length, sizeof found - length, "%s%d:-", comma, fd);
        else if (item[strcspn(item, ",") - 1] == '*') // whatever it is
            length += snprintf(found + length, sizeof found - length, "%s%d:*", comma, fd);
        else
            length += snprintf(found + length, sizeof found - length, "%s%d:%llx:%llx", comma, fd,
                               (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
        if (length > sizeof found - 64)
            break;
    }
}

static void actions(void) {
    unsigned long long ignored = 0;
    for (int signal = 1; signal <= 64; signal++) {
        // The kernel's own structure: the handler is its first word.
        unsigned long action[8] = {0};
        if (syscall(SYS_rt_sigaction, signal, NULL, action, 8) != 0)
            continue;
        if (action[0] == (unsigned long)SIG_IGN)
            ignored |= 1ULL << (signal - 1);
        else if (action[0] != (unsigned long)SIG_DFL) {
            snprintf(found, sizeof found, "a handler of %d", signal);
            return;
        }
    }
    number("%llx", ignored);
}

static void groups(void) {
    gid_t list[64];
    int count = getgroups(64, list);
    size_t length = 0;
    found[0] = 0;
    for (int n = 0; n < count; n++)
        length += snprintf(found + length, sizeof found - length, "%s%u", n ? "," : "", list[n]);
}

// Whether three ids are the same.
static void ids(unsigned real, unsigned effective, unsigned saved) {
    if (real == effective && effective == saved)
        number("%llu", real);
    else
        snprintf(found, sizeof found, "%u %u %u", real, effective, saved);
}

static void bounding(void) {
    unsigned long long set = 0;
    for (int capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1)
            set |= 1ULL << capability;
    number("%llx", set);
}

static void look(const char *key, const char *value) {
    struct stat status;
    unsigned a = 0, b = 0, c = 0;
    found[0] = 0;
    if (!strcmp(key, "fds"))
        descriptors(value);
    else if (!strcmp(key, "cwd"))
        file(stat(".", &status), &status);
    else if (!strcmp(key, "root"))
        file(stat("/", &status), &status);
    else if (!strncmp(key, "ns/", 3)) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/%s", key);
        file(stat(path, &status), &status);
        // A new one: any but that of the parent.
        if (*value == '!' && *found != 'e')
            snprintf(found, sizeof found, "%s",
                     strcmp(found, value + 1) ? value : "that of the parent");
    } else if (!strcmp(key, "umask"))
        number("%llo", umask(0));
    else if (!strcmp(key, "mask")) {
        unsigned long long mask = 0;
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
        number("%llx", mask);
    } else if (!strcmp(key, "ignored"))
        actions();
    else if (!strcmp(key, "ppid"))
        number("%llu", getppid());
    else if (!strcmp(key, "session"))
        snprintf(found, sizeof found, getsid(0) == getpid() ? "own" : "%d", getsid(0));
    else if (!strcmp(key, "group"))
        snprintf(found, sizeof found, getpgrp() == getpid() ? "own" : "%d", getpgrp());
    else if (!strcmp(key, "uid"))
        getresuid(&a, &b, &c), ids(a, b, c);
    else if (!strcmp(key, "gid"))
        getresgid(&a, &b, &c), ids(a, b, c);
    else if (!strcmp(key, "groups"))
        groups();
    else if (!strcmp(key, "nice"))
        snprintf(found, sizeof found, "%d", getpriority(PRIO_PROCESS, 0));
    else if (!strcmp(key, "affinity")) {
        unsigned long cpus[16] = {0};
        syscall(SYS_sched_getaffinity, 0, sizeof cpus, cpus);
        number("%llx", cpus[0]);
    } else if (!strcmp(key, "scheduler"))
        number("%llu", sched_getscheduler(0));
    else if (!strcmp(key, "ioprio"))
        number("%llu", syscall(SYS_ioprio_get, 1, 0));
    else if (!strcmp(key, "oom"))
        text_of("/proc/self/oom_score_adj");
    else if (!strcmp(key, "coredump"))
        text_of("/proc/self/coredump_filter");
    else if (!strcmp(key, "slack"))
        number("%llu", prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
    else if (!strcmp(key, "subreaper"))
        prctl(PR_GET_CHILD_SUBREAPER, &a, 0, 0, 0), number("%llu", a);
    else if (!strcmp(key, "no_new_privs"))
        number("%llu", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    else if (!strcmp(key, "seccomp"))
        number("%llu", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    else if (!strcmp(key, "death"))
        prctl(PR_GET_PDEATHSIG, &a, 0, 0, 0), number("%llu", a);
    else if (!strcmp(key, "bounding"))
        bounding();
    else if (!strcmp(key, "hostname"))
        gethostname(found, sizeof found);
    else if (!strcmp(key, "listen")) {
        const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
        snprintf(found, sizeof found, "%s", pid && atoi(pid) == getpid() && fds ? fds : "no");
    } else if (!strcmp(key, "env")) {
        int count = 0;
        while (environ[count])
            count++;
        number("%llu", count);
    } else if (!strncmp(key, "rlimit/", 7)) {
        struct rlimit limit;
        getrlimit(atoi(key + 7), &limit);
        snprintf(found, sizeof found, "%llx:%llx", (unsigned long long)limit.rlim_cur,
                 (unsigned long long)limit.rlim_max);
    } else
        snprintf(found, sizeof found, "what is that?");
}

int main(int argc, char **argv) {
    for (int place = 2; place < argc; place++) {
        char *argument = argv[place];
        char *value = strchr(argument, '=');
        if (!value)
            return 9;
        *value++ = 0;
        look(argument, value);
        if (strcmp(found, value)) {
            // At best: the number of descriptors may be limited, the root another.
            for (int fd = 3; fd < 100; fd++)
                close(fd);
            int fd = open(argv[1], O_WRONLY | O_APPEND);
            char line[16 * 1024];
            int length = snprintf(line, sizeof line, "%s: found %s, expected %s\n", argument, found,
                                  value);
            if (write(fd, line, length) < 0)
                return 10 + place;
            return 10 + place;
        }
    }
    return 0;
}
