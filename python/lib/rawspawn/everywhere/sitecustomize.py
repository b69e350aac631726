"""Installs rawspawn in an interpreter that has this folder on `PYTHONPATH`."""

import os
import sys


def _install() -> None:
    try:
        import rawspawn
    except ImportError:
        return  # an interpreter that does not have it
    rawspawn.install()


def _run_next() -> None:
    """Runs the `sitecustomize` that this one stands before."""
    this, path = sys.modules.pop(__name__), sys.path[:]
    sys.path[:] = [folder for folder in path if folder != os.path.dirname(__file__)]
    try:
        import sitecustomize  # type: ignore[import-not-found] # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules[__name__] = this
    finally:
        sys.path[:] = path


_install()
_run_next()
