"""CPython's subprocess, multiprocessing and asyncio on rawspawn.

`install()` puts `fork_exec` in the place of `_posixsubprocess.fork_exec`, through which
all of them make their children; `uninstall()` takes it out again, and `installed()` is
both as a context manager. `python -m rawspawn script.py` runs a script with it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import _posixsubprocess

from . import _native
from ._native import counts

__all__ = ["counts", "fork_exec", "install", "installed", "is_installed", "uninstall"]

_original: Any = _posixsubprocess.fork_exec


def fork_exec(*args: Any) -> int:
    """Makes a child, with the arguments of this CPython's `_posixsubprocess.fork_exec`.

    The child shares this process's memory until it executes the program, unless other
    credentials are asked for, or `allow_vfork` is false: then it is a fork. With a
    `preexec_fn` CPython's own function is called, as only that knows the hooks
    around a fork.
    """
    return _native.fork_exec(_original, *args)


def is_installed() -> bool:
    """Whether `subprocess` makes its children by `fork_exec` of this module."""
    return _posixsubprocess.fork_exec is fork_exec


def install() -> None:
    """Has `subprocess`, `multiprocessing` and `asyncio` make their children here.

    Only `subprocess._posix_spawn` stays as it is, which CPython prefers where
    `close_fds` is false and nothing else is asked for.
    """
    _put(fork_exec)


def uninstall() -> None:
    """Undoes `install`."""
    _put(_original)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """As long as it lasts, children are made here."""
    was_installed = is_installed()
    install()
    try:
        yield
    finally:
        if not was_installed:
            uninstall()


def _put(function: Any) -> None:
    _posixsubprocess.fork_exec = function
    # Since 3.11 subprocess has a name of its own for it.
    if hasattr(subprocess, "_fork_exec"):
        subprocess._fork_exec = function
