// The worker of musl's posix_spawn: see src/worker.rs for the protocol.
#define _GNU_SOURCE
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024 };

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void check(long long result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "musl: %s: %s\n", what, strerror(-result));
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 2;
    check(bench_state(atol(argv[2]), atol(argv[3]), atol(argv[4]), atol(argv[5])), "state");
    char *child_argv[] = {argv[1], NULL};
    puts("ready");
    fflush(stdout);

    long count, size;
    long long limit;
    while (scanf(" run %*s %ld %ld %lld", &count, &size, &limit) == 3 && size <= MOST) {
        long long start = now();
        for (long done = 0; done < count && (done == 0 || now() - start < limit); done++) {
            pid_t pids[MOST];
            long long before = now();
            for (long i = 0; i < size; i++)
                check(pids[i] = bench_posix_spawn(argv[1], child_argv, environ, INHERIT), "spawn");
            long long held = now() - before;
            for (long i = 0; i < size; i++) {
                int status = 1;
                if (waitpid(pids[i], &status, 0) < 0 || status != 0)
                    return 1;
            }
            printf("%lld:%lld ", held, now() - before);
        }
        puts("");
        fflush(stdout);
    }
    return 0;
}
