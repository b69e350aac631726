"""How a `Popen` comes to its child: the method `_execute_child`, with another fork_exec.

CPython's own class does it by that function. gevent puts a class in its place that forks in
Python and has the child watched by its loop. There CPython's method makes the child too, and
gevent watches it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any


def execute_child(
    popen: Any, method: Any, spawn: Callable[..., int], arguments: tuple[Any, ...]
) -> bool:
    """Makes the child of `popen`, by `spawn`, as `method`, its own, is to with `arguments`.

    False, and there is none, if an argument is one that only gevent's class knows.
    """
    gevents = _gevents()
    if gevents is not None and isinstance(popen, gevents):
        return _execute_watched(popen, method, spawn, arguments)
    _with_names(method, _forking_by(spawn))(popen, *arguments)
    return True


def reach_gevent(spawn: Callable[..., int] | None) -> None:
    """Has gevent's `Popen`, if there is one, make its children by `spawn`; by itself if None."""
    gevents = _gevents()
    if gevents is None:
        return
    own = getattr(gevents._execute_child, "__wrapped__", gevents._execute_child)
    if spawn is None:
        gevents._execute_child = own
        return

    @functools.wraps(own)
    def execute(self: Any, *arguments: Any) -> None:
        if not execute_child(self, own, spawn, arguments):
            own(self, *arguments)

    gevents._execute_child = execute


def cpythons() -> Any:
    """CPython's own `Popen`, whatever stands in its place."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("subprocess", "Popen") if monkey else subprocess.Popen


def _gevents() -> Any:
    """gevent's `Popen`; None if nobody has imported it."""
    return getattr(sys.modules.get("gevent.subprocess"), "Popen", None)


def _with_names(function: Any, names: dict[str, Any]) -> Any:
    """`function`, which finds `names` where it looks for those of its module.

    They are a copy, as the module's are other threads' too.
    """
    code, defaults, closure = function.__code__, function.__defaults__, function.__closure__
    return types.FunctionType(code, {**function.__globals__, **names}, None, defaults, closure)


def _forking_by(spawn: Callable[..., int]) -> dict[str, Any]:
    return {
        "_fork_exec": spawn,
        "_posixsubprocess": types.SimpleNamespace(fork_exec=spawn),
        "_USE_POSIX_SPAWN": False,
    }


def _execute_watched(
    popen: Any, method: Any, spawn: Callable[..., int], arguments: tuple[Any, ...]
) -> bool:
    monkey, gevents_os = map(importlib.import_module, ("gevent.monkey", "gevent.os"))
    given = dict(inspect.signature(method).bind(popen, *arguments).arguments)
    method = cpythons()._execute_child
    # What CPython takes for none.
    if given.get("process_group") is None:
        given["process_group"] = -1
    wanted = list(inspect.signature(method).parameters)[1:]
    if "process_group" not in wanted and given["process_group"] != -1:
        return False

    # gevent's close is done later, when all wait: and we wait for what it closes.
    originals = {name: monkey.get_original("os", name) for name in ("close", "waitpid")}
    names = {**_forking_by(spawn), "os": types.SimpleNamespace(**{**vars(os), **originals})}

    # What the method does is done to this one, as far as it is not popen's to do.
    made = types.SimpleNamespace(
        pid=0,
        _devnull=getattr(popen, "_devnull", None),
        _closed_child_pipe_fds=False,
        _handle_exitstatus=lambda status: None,
    )
    close_pipe_fds = _with_names(cpythons()._close_pipe_fds, names)
    made._close_pipe_fds = functools.partial(close_pipe_fds, made)

    def make() -> int:
        try:
            _with_names(method, names)(made, *(given[name] for name in wanted))
        finally:
            popen._closed_child_pipe_fds = made._closed_child_pipe_fds
        pid: int = made.pid
        return pid

    # A stream that gevent reads is non-blocking, for the child too. The flag is the file's.
    streams = (given["p2cread"], given["c2pwrite"], given["errwrite"])
    for number, fd in enumerate(streams):
        with contextlib.suppress(OSError):
            popen._remove_nonblock_flag(number if fd == -1 else fd)
    # Before there is a child, or the signal of its end may come too early.
    popen._loop.install_sigchld()
    popen.pid = gevents_os.fork_and_watch(popen._on_child, popen._loop, True, make)
    popen._child_created = True
    return True
