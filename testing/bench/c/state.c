// Brings a process into the state that a scenario asks for.
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

// Not close-on-exec: those are the ones that a spawner has to close.
static int open_fds(long count) {
    if (count == 0)
        return 0;
    int fd = open("/dev/null", O_RDWR);
    for (long i = 1; fd >= 0 && i < count; i++)
        if (dup(fd) < 0)
            return -errno;
    return fd < 0 ? -errno : 0;
}

// In small pages: their tables are what a fork copies.
static int fill_memory(long mib) {
    size_t size = (size_t)mib << 20;
    if (size == 0)
        return 0;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, size, MADV_NOHUGEPAGE) < 0)
        return -errno;
    for (size_t at = 0; at < size; at += PAGE)
        memory[at] = 1;
    return 0;
}

static void handle(int signal) { (void)signal; }

// SIGCHLD last: its handler runs at each end of a child. C libraries keep 32 and
// 33 for themselves, musl 34 too: it has 59 at most.
static int next_signal(int signal) {
    if (signal == 34)
        return SIGCHLD;
    if (signal == 64)
        return 34;
    do
        signal++;
    while (signal == SIGKILL || signal == SIGSTOP || signal == SIGCHLD ||
           (signal >= 32 && signal <= 34));
    return signal;
}

static int install_handlers(long count) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    for (int signal = next_signal(0); count > 0; count--, signal = next_signal(signal)) {
        if (sigaction(signal, &action, NULL) < 0 && signal != 34)
            return -errno;
        if (signal == SIGCHLD)
            break;
    }
    return 0;
}

static void *idle(void *unused) {
    for (;;)
        pause();
    return unused;
}

static int start_threads(long count) {
    for (; count > 0; count--) {
        pthread_t thread;
        int failed = pthread_create(&thread, NULL, idle, NULL);
        if (failed)
            return -failed;
    }
    return 0;
}

int bench_state(long fds, long rss_mib, long handlers, long threads) {
    int result = open_fds(fds);
    if (result == 0)
        result = fill_memory(rss_mib);
    if (result == 0)
        result = install_handlers(handlers);
    if (result == 0)
        result = start_threads(threads);
    return result;
}
