"""What a type checker knows of the package: mypy reads this, and nobody runs it."""

import subprocess
from typing import IO, Optional

import rawspawn


def uses(text: bool) -> None:
    """Each line is one that mypy accepts, with the type that it finds."""
    texts: rawspawn.Popen[str] = rawspawn.Popen(["x"], text=True, rlimits={7: 1, 8: (1, 2)})
    also: rawspawn.Popen[str] = rawspawn.Popen("x", encoding="utf-8", shell=True)
    data: rawspawn.Popen[bytes] = rawspawn.Popen(["x"], stdout=subprocess.PIPE, fd_map={3: 4})
    stdout: Optional[IO[bytes]] = data.stdout
    either = rawspawn.Popen(["x"], text=text, cgroup="/sys/fs/cgroup/x")
    pidfd: Optional[int] = either.pidfd
    process: subprocess.Popen[str] = texts
    counts: dict[str, int] = rawspawn.counts()
    rawspawn.Popen(["x"], fd_map=[3])  # type: ignore[call-overload]
    with rawspawn.installed():
        print(also, stdout, pidfd, process, counts)
