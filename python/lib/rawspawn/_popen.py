"""`subprocess.Popen` on rawspawn, with what CPython's lacks."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator

from . import _execute, _native

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

    `wait()` and `communicate()` with a timeout wait for a pidfd of the child's, where
    CPython looks every 50 ms, and signals go through one. It is opened for that, so that a
    child takes no descriptor that CPython's would not.

    Its base is the class that `subprocess.Popen` is when this package is imported:
    gevent's, or eventlet's, where they were patched in before. Then it waits and reads as
    that one does.
    """

    def __init__(self, *args, cgroup=None, fd_map=None, rlimits=None, **options):
        self._pidfd = None
        pairs = [(_fileno(fd), child_fd) for child_fd, fd in (fd_map or {}).items()]
        limits = [(name, *_soft_and_hard(limit)) for name, limit in (rlimits or {}).items()]
        _refuse_twice([child_fd for _, child_fd in pairs], options)
        with _directory(cgroup) as directory:
            self._extras = (directory, pairs, limits)
            super().__init__(*args, **options)

    @property
    def pidfd(self):
        """The child's pidfd, which is readable once it has ended.

        It is opened when it is asked for first, and closed by `with` or when the object
        goes. None where the kernel has none (Linux 5.3), where the child was waited for
        before, and after `with`.
        """
        if self._pidfd is None:
            self._pidfd = self._open_pidfd()
        return self._pidfd

    def send_signal(self, sig):
        """Sends a signal to the child; does nothing if it has ended."""
        if self.poll() is not None:
            return
        with self._borrowed_pidfd() as pidfd:
            if pidfd is None:
                super().send_signal(sig)
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, sig)

    def __exit__(self, *exception):
        try:
            return super().__exit__(*exception)
        finally:
            self._close_pidfd()

    def __del__(self):
        self._close_pidfd()
        # CPython's has one, gevent's has none.
        getattr(super(), "__del__", lambda: None)()

    def _close_pidfd(self):
        # None, too, of one whose arguments were wrong.
        pidfd, self._pidfd = getattr(self, "_pidfd", None), None
        if pidfd is not None:
            os.close(pidfd)

    def _open_pidfd(self):
        """A new pidfd of the child; None if it was waited for, or the kernel has none."""
        # Who has the lock may reap the child, and then its pid may be another's.
        lock = getattr(self, "_waitpid_lock", None)
        locked = lock is not None and lock.acquire(False)
        try:
            if self.pid is None or self.returncode is not None:
                return None
            fd = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ENOSYS, errno.EPERM):
                return None
            raise
        finally:
            if locked:
                lock.release()
        try:
            os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            os.close(fd)
            return None  # somebody else has reaped it: this is no child
        except OSError:
            pass  # below Linux 5.4
        return fd

    @contextlib.contextmanager
    def _borrowed_pidfd(self):
        """The pidfd, or one as long as this lasts; None where none can be had."""
        if self._pidfd is not None:
            yield self._pidfd
            return
        try:
            fd = self._open_pidfd()
        except OSError:
            fd = None  # no descriptor is free
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def _execute_child(self, *arguments):
        def spawn(*passed):
            return _native.spawn(_original, *self._extras, *passed)

        method = super()._execute_child.__func__
        if not _execute.execute_child(self, method, spawn, arguments):
            raise ValueError("an argument that this CPython's subprocess does not know")

    def _wait(self, timeout):
        if timeout is not None and self.returncode is None:
            with self._borrowed_pidfd() as pidfd:
                if pidfd is not None:
                    if not _ends_within(pidfd, timeout):
                        raise subprocess.TimeoutExpired(self.args, timeout)
                    timeout = None
        return super()._wait(timeout)


def _ends_within(pidfd, timeout):
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
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
