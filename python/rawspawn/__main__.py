"""Runs a script or a module with rawspawn installed.

`python -m rawspawn [--counts] [-m MODULE | SCRIPT] [ARGUMENT]...`; with `--counts` it says
at its end how many children it has made, and how.
"""

import atexit
import os
import runpy
import sys

import rawspawn


def say_counts(pid: int) -> None:
    """Prints the counts, but not in a fork of this process."""
    if os.getpid() == pid:
        text = " ".join(f"{name}={count}" for name, count in rawspawn.counts().items())
        print(f"rawspawn: {text}", file=sys.__stderr__, flush=True)


def main() -> None:
    """Runs what the arguments name."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--counts"]:
        del arguments[0]
        atexit.register(say_counts, os.getpid())
    is_module = arguments[:1] == ["-m"]
    if is_module:
        del arguments[0]
    if not arguments:
        sys.exit("usage: python -m rawspawn [--counts] [-m MODULE | SCRIPT] [ARGUMENT]...")
    rawspawn.install()
    sys.argv = arguments
    if is_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(arguments[0])
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
