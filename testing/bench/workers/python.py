"""The worker of CPython's subprocess: see src/worker.rs for the protocol."""

import mmap
import os
import signal
import subprocess
import sys
import threading
import time

PEERS = {"python": True, "python-inherit": False}


def open_fds(count):
    # os.dup would make them close-on-exec.
    first = os.open("/dev/null", os.O_RDWR)
    os.set_inheritable(first, True)
    for number in range(first + 1, first + count):
        os.dup2(first, number)


def fill_memory(mib):
    size = mib << 20
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[:: mmap.PAGESIZE] = b"\1" * (size // mmap.PAGESIZE)
    return memory


def install_handlers(count):
    late = [34, signal.SIGCHLD]
    never = [signal.SIGKILL, signal.SIGSTOP, 32, 33]
    order = [n for n in range(1, 65) if n not in late + never] + late
    for number in order[:count]:
        signal.signal(number, lambda *_: None)


def run(spawn, count, size, limit):
    clock = time.perf_counter_ns
    start = clock()
    samples = []
    while len(samples) < count and (not samples or clock() - start < limit):
        before = clock()
        children = [spawn() for _ in range(size)]
        held = clock() - before
        for child in children:
            if child.wait() != 0:
                sys.exit("python: the child failed")
        samples.append(f"{held}:{clock() - before}")
    return " ".join(samples)


def main():
    program = sys.argv[1]
    fds, rss_mib, handlers, threads = map(int, sys.argv[2:])
    if fds:
        open_fds(fds)
    memory = fill_memory(rss_mib) if rss_mib else None
    install_handlers(handlers)
    for _ in range(threads):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    print("ready", flush=True)
    # Not by iteration, which reads ahead.
    while line := sys.stdin.readline():
        _, peer, *numbers = line.split()
        close_fds = PEERS[peer]
        print(run(lambda: subprocess.Popen([program], close_fds=close_fds), *map(int, numbers)), flush=True)
    del memory


main()
