import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, AnyStr, Literal, Protocol, TypeAlias, overload

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

_Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_Command: TypeAlias = _Path | Sequence[_Path]
_Cgroup: TypeAlias = int | _Path | None
_FdMap: TypeAlias = Mapping[int, int | _HasFileno] | None
_Rlimits: TypeAlias = Mapping[int, int | tuple[int, int]] | None

class Popen(subprocess.Popen[AnyStr]):
    @property
    def pidfd(self) -> int | None: ...
    # Texts, by any of three arguments; bytes; what only a run can tell.
    @overload
    def __init__(
        self: Popen[str],
        args: _Command,
        *,
        text: Literal[True],
        cgroup: _Cgroup = None,
        fd_map: _FdMap = None,
        rlimits: _Rlimits = None,
        pass_fds: Iterable[int] = (),
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[str],
        args: _Command,
        *,
        encoding: str,
        cgroup: _Cgroup = None,
        fd_map: _FdMap = None,
        rlimits: _Rlimits = None,
        pass_fds: Iterable[int] = (),
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[str],
        args: _Command,
        *,
        universal_newlines: Literal[True],
        cgroup: _Cgroup = None,
        fd_map: _FdMap = None,
        rlimits: _Rlimits = None,
        pass_fds: Iterable[int] = (),
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[bytes],
        args: _Command,
        *,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        universal_newlines: Literal[False] | None = None,
        cgroup: _Cgroup = None,
        fd_map: _FdMap = None,
        rlimits: _Rlimits = None,
        pass_fds: Iterable[int] = (),
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[Any],
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        cgroup: _Cgroup = None,
        fd_map: _FdMap = None,
        rlimits: _Rlimits = None,
        pass_fds: Iterable[int] = (),
        **options: Any,
    ) -> None: ...
