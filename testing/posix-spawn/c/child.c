// What a child of a spawn is, as it sees itself: written to the file that the first argument
// names.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char text[65536];
static int used;

static void same_or(const char *name, int value, int own)
{
    used += sprintf(text + used, value == own ? "%s own\n" : "%s %d\n", name, value);
}

int main(int argc, char **argv)
{
    char path[64], target[4096];
    for (int fd = 0; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0)
            continue;
        sprintf(path, "/proc/self/fd/%d", fd);
        int length = readlink(path, target, sizeof target);
        used += sprintf(text + used, "fd %d %o %d %.*s\n", fd, flags, fcntl(fd, F_GETFD), length,
            target);
    }
    used += sprintf(text + used, "cwd %s\n", getcwd(target, sizeof target) ? target : "?");
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    used += sprintf(text + used, "blocked");
    for (int signal = 1; signal < 65; signal++)
        if (sigismember(&mask, signal) == 1)
            used += sprintf(text + used, " %d", signal);
    used += sprintf(text + used, "\nignored");
    for (int signal = 1; signal < 65; signal++) {
        struct sigaction action;
        if (sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            used += sprintf(text + used, " %d", signal);
    }
    used += sprintf(text + used, "\n");
    same_or("pgrp", getpgrp(), getpid());
    same_or("sid", getsid(0), getpid());
    struct sched_param param;
    sched_getparam(0, &param);
    used += sprintf(text + used, "sched %d %d\n", sched_getscheduler(0), param.sched_priority);
    mode_t before = umask(0);
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    used += sprintf(text + used, "umask %o\nids %u %u %u %u %u\n", before, r, e, s, getgid(),
        getegid());
    for (int n = 0; n < argc; n++)
        used += sprintf(text + used, "arg %s\n", argv[n]);
    int file = open(argc > 1 ? argv[1] : "/dev/null", O_WRONLY | O_TRUNC);
    return file < 0 || write(file, text, used) != used;
}
