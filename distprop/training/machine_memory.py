"""How much memory this machine, or the control group that this process is in, has."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MACHINE = Path("/proc/meminfo")


class Memory(NamedTuple):
    """bytes: in all, whoever uses them now. owner: in words, who has them."""

    bytes: int
    owner: str


def machine_memory() -> Memory | None:
    """The smaller of what the machine has (with swap) and what its control groups allow; None where nobody says."""
    found = [*_physical(), *_limits()]
    return min(found, default=None)


def _physical() -> Iterator[Memory]:
    lines = dict(line.split(":", 1) for line in _text(MACHINE).splitlines() if ":" in line)
    kilobytes = [int(lines[key].split()[0]) for key in ("MemTotal", "SwapTotal") if key in lines]
    if kilobytes:
        yield Memory(1024 * sum(kilobytes), "this machine")


def _limits() -> Iterator[Memory]:
    """Limits of version 2 (`0::/path`, of each group on the way up) and 1 (`5:memory:/path`)."""
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (GROUPS / "memory", "memory.limit_in_bytes") if controllers else (GROUPS, "memory.max")
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root) and (text := _text(folder / name).strip()).isdecimal():
                yield Memory(int(text), f"the control group of this process ({folder / name})")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
