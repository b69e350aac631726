// The peers that are C: what a spawn costs at least, and posix_spawn.
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <unistd.h>

// musl has no function for it.
static inline int close_others(int others) {
    return others == INHERIT ? 0 : syscall(SYS_close_range, 3, ~0U, others == CLOEXEC ? 1 << 2 : 0);
}

pid_t bench_vfork(const char *path, char *const argv[], char *const envp[], int others) {
    volatile int failed = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        if (close_others(others) == 0)
            execve(path, argv, envp);
        failed = errno;
        _exit(127);
    }
    return pid < 0 ? -errno : failed ? -failed : pid;
}

pid_t bench_vfork_exit(void) {
    pid_t pid = vfork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -errno : pid;
}

// Without the pipe by which a spawner learns that the exec has failed.
pid_t bench_fork(const char *path, char *const argv[], char *const envp[], int others) {
    pid_t pid = fork();
    if (pid == 0) {
        if (close_others(others) == 0)
            execve(path, argv, envp);
        _exit(127);
    }
    return pid < 0 ? -errno : pid;
}

#ifdef __GLIBC__
static posix_spawn_file_actions_t *closing(void) {
    static posix_spawn_file_actions_t actions;
    static int ready;
    if (!ready) {
        errno = posix_spawn_file_actions_init(&actions);
        if (errno == 0)
            errno = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        ready = errno == 0;
    }
    return ready ? &actions : NULL;
}
#else
static posix_spawn_file_actions_t *closing(void) {
    errno = ENOSYS;
    return NULL;
}
#endif

pid_t bench_posix_spawn(const char *path, char *const argv[], char *const envp[], int others) {
    posix_spawn_file_actions_t *actions = NULL;
    if (others != INHERIT && !(actions = closing()))
        return -errno;
    pid_t pid;
    int failed = posix_spawn(&pid, path, actions, NULL, argv, envp);
    return failed ? -failed : pid;
}
