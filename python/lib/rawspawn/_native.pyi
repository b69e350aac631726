from collections.abc import Callable
from typing import Any

__all__ = ["counts", "fork_exec", "spawn"]

def fork_exec(original: Callable[..., int], *args: Any) -> int: ...
def spawn(
    original: Callable[..., int],
    cgroup: int | None,
    fd_map: list[tuple[int, int]],
    rlimits: list[tuple[int, int, int]],
    *args: Any,
) -> int: ...
def counts() -> dict[str, int]: ...
