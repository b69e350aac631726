"""Runs a script or a module with rawspawn installed.

`python -m rawspawn [--counts] [--children] [-m MODULE | SCRIPT] [ARGUMENT]...`; with
`--counts` it says at its end how many children it has made, and how; with `--children`
interpreters that it starts have rawspawn installed too.
"""

import atexit
import os
import runpy
import sys

import rawspawn

OPTIONS = ("--counts", "--children")


def say_counts(pid: int) -> None:
    """Prints the counts, but not in a fork of this process."""
    if os.getpid() == pid:
        text = " ".join(f"{name}={count}" for name, count in rawspawn.counts().items())
        print(f"rawspawn: {text}", file=sys.__stderr__, flush=True)


def main() -> None:
    """Runs what the arguments name."""
    arguments = sys.argv[1:]
    options = set()
    while arguments and arguments[0] in OPTIONS:
        options.add(arguments.pop(0))
    if "--counts" in options:
        atexit.register(say_counts, os.getpid())
    is_module = arguments[:1] == ["-m"]
    if is_module:
        del arguments[0]
    if not arguments:
        usage = " ".join(f"[{option}]" for option in OPTIONS)
        sys.exit(f"usage: python -m rawspawn {usage} [-m MODULE | SCRIPT] [ARGUMENT]...")
    rawspawn.install(children="--children" in options)
    sys.argv = arguments
    if is_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(arguments[0])
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
