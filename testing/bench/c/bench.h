// What the native worker and that of musl share.
#pragma once
#include <sys/types.h>

// What a child does with the descriptors from 3 on.
enum others { INHERIT, CLOSE, CLOEXEC };

// Each starts `path` and returns its pid, or an error number below 0.
pid_t bench_vfork(const char *path, char *const argv[], char *const envp[], int others);
pid_t bench_vfork_exit(void);
pid_t bench_fork(const char *path, char *const argv[], char *const envp[], int others);
pid_t bench_posix_spawn(const char *path, char *const argv[], char *const envp[], int others);

// Brings the process into a state; 0, or an error number below 0.
int bench_state(long fds, long rss_mib, long handlers, long threads);
