"""CPython's subprocess, multiprocessing and asyncio on rawspawn.

`install()` puts `fork_exec` in the place of `_posixsubprocess.fork_exec`, through which
all of them make their children; `uninstall()` takes it out again, and `installed()` is
both as a context manager. `python -m rawspawn script.py` runs a script with it. `Popen`
is a `subprocess.Popen` that can do more.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import _posixsubprocess

from . import _execute, _native
from ._native import counts
from ._popen import Popen

__all__ = ["Popen", "counts", "fork_exec", "install", "installed", "is_installed", "uninstall"]

_original: Any = _posixsubprocess.fork_exec

# Since 3.11 subprocess has a name of its own for it, which is None under gevent.
_original_name: Any = getattr(subprocess, "_fork_exec", None)

# What an interpreter that has it on its path runs at its start.
_everywhere = os.path.join(os.path.dirname(os.path.abspath(__file__)), "everywhere")


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


def install(*, children: bool = False) -> None:
    """Has `subprocess`, `multiprocessing` and `asyncio` make their children here.

    With `children`, interpreters that inherit this one's environment do so as well: their
    `PYTHONPATH` has a folder with a `sitecustomize`. Not those that are started with
    `-I`, `-E` or `-S`, nor those that cannot import this package.

    Only `subprocess._posix_spawn` stays as it is, which CPython prefers where
    `close_fds` is false and nothing else is asked for.

    gevent's `Popen` makes its children here too if it was imported before: call this after
    `monkey.patch_all()`. What forks in C, such as uvloop, is not reached.
    """
    _put(fork_exec)
    if children:
        _set_path([_everywhere, *_path()])


def uninstall() -> None:
    """Undoes `install`."""
    _put(_original)
    _set_path(_path())


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """As long as it lasts, children are made here."""
    before = _posixsubprocess.fork_exec
    _put(fork_exec)
    try:
        yield
    finally:
        _put(before)


def _put(function: Any) -> None:
    _posixsubprocess.fork_exec = function
    is_ours = function is not _original
    if hasattr(subprocess, "_fork_exec"):
        subprocess._fork_exec = function if is_ours else _original_name
    _execute.reach_gevent(function if is_ours else None)


def _path() -> list[str]:
    """The folders of `PYTHONPATH`, without ours."""
    path = os.environ.get("PYTHONPATH")
    return [folder for folder in path.split(os.pathsep) if folder != _everywhere] if path else []


def _set_path(folders: list[str]) -> None:
    if folders:
        os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    else:
        os.environ.pop("PYTHONPATH", None)
