"""`subprocess.Popen` on rawspawn, with what CPython's lacks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import types
from collections.abc import Iterator

from . import _native

import _posixsubprocess

_original = _posixsubprocess.fork_exec

# As many seconds as poll(2) surely takes.
_LONG = 86400.0


class Popen(subprocess.Popen):
    """A child made by rawspawn, whether or not that is installed.

    Takes what `subprocess.Popen` takes, and besides:

    - `cgroup`: the directory of a cgroup of version 2, as a path or a descriptor. The
      child is made there, by fork: see `Request::cgroup` in the crate for the reason.
    - `fd_map`: a mapping from numbers in the child to descriptors here, or objects that
      have a `fileno()`. All of it happens at once: numbers may be exchanged.
    - `rlimits`: a mapping from `resource.RLIMIT_*` to a limit, or a pair of the soft and
      the hard one.

    They do not go together with `preexec_fn`, which is left to CPython's own fork.

    `wait()` and `communicate()` with a timeout wait for the child's pidfd, where CPython
    looks every 50 ms, and signals go through it.
    """

    def __init__(self, *args, cgroup=None, fd_map=None, rlimits=None, **options):
        self._pidfd = None
        pairs = [(_fileno(fd), child_fd) for child_fd, fd in (fd_map or {}).items()]
        limits = [(name, *_soft_and_hard(limit)) for name, limit in (rlimits or {}).items()]
        _refuse_twice([child_fd for _, child_fd in pairs], options)
        with _directory(cgroup) as directory:
            self._extras = (directory, pairs, limits)
            super().__init__(*args, **options)
        if self._pidfd is None and self.returncode is None:
            # One that CPython's own fork has made.
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)

    @property
    def pidfd(self):
        """The child's pidfd, which is readable once it has ended; None where the kernel
        has none (Linux 5.3), and after `with`."""
        return self._pidfd

    def send_signal(self, sig):
        """Sends a signal to the child; does nothing if it has ended."""
        if self._pidfd is None:
            super().send_signal(sig)
        elif self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sig)

    def __exit__(self, *exception):
        try:
            return super().__exit__(*exception)
        finally:
            self._close_pidfd()

    def __del__(self):
        super().__del__()
        self._close_pidfd()

    def _close_pidfd(self):
        # None, too, of one whose arguments were wrong.
        pidfd, self._pidfd = getattr(self, "_pidfd", None), None
        if pidfd is not None:
            os.close(pidfd)

    def _execute_child(self, *arguments):
        def spawn(*passed):
            pid, self._pidfd = _native.spawn(_original, *self._extras, *passed)
            return pid

        # The method of this CPython, that calls the function above. The names that it
        # looks up are copied, as they are other threads' too.
        method = subprocess.Popen._execute_child
        names = {
            **method.__globals__,
            "_fork_exec": spawn,
            "_posixsubprocess": types.SimpleNamespace(fork_exec=spawn),
            "_USE_POSIX_SPAWN": False,
        }
        code, defaults, closure = method.__code__, method.__defaults__, method.__closure__
        types.FunctionType(code, names, None, defaults, closure)(self, *arguments)

    def _wait(self, timeout):
        if timeout is not None and self.returncode is None and self._pidfd is not None:
            if not self._ends_within(timeout):
                raise subprocess.TimeoutExpired(self.args, timeout)
            timeout = None
        return super()._wait(timeout)

    def _ends_within(self, timeout):
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0)
            if poll.poll(min(left, _LONG) * 1000):
                return True
            if left == 0:
                return False


def _fileno(fd):
    return fd if isinstance(fd, int) else fd.fileno()


def _soft_and_hard(limit):
    soft, hard = (limit, limit) if isinstance(limit, int) else limit
    # resource.RLIM_INFINITY is -1, which the kernel takes for the largest number.
    return soft % 2**64, hard % 2**64


def _refuse_twice(numbers, options):
    streams = [options.get(name) for name in ("stdin", "stdout", "stderr")]
    taken = {number for number, stream in enumerate(streams) if stream is not None}
    taken.update(map(int, options.get("pass_fds", ())))
    for number in numbers:
        if number in taken:
            raise ValueError(f"fd_map has {number}, which is given as another argument too")


@contextlib.contextmanager
def _directory(cgroup) -> Iterator[object]:
    if cgroup is None or isinstance(cgroup, int):
        yield cgroup
        return
    fd = os.open(cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
