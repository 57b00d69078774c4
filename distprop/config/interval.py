"""How often something happens: "200 steps", "1 epoch", "0.5 epochs"."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema

from distprop.config.strict import problem

PATTERN = r"^(\d+(?:\.\d+)?) (step|epoch)s?$"


@dataclass(frozen=True)
class Interval:
    """A number of steps, or of epochs."""

    count: float
    unit: Literal["steps", "epochs"]

    def steps(self, steps_per_epoch: int) -> int:
        """The interval in whole steps, at least 1."""
        return max(1, round(self.count * (steps_per_epoch if self.unit == "epochs" else 1)))

    def __str__(self) -> str:
        count = int(self.count) if float(self.count).is_integer() else self.count
        return f"{count} {self.unit[:-1] if count == 1 else self.unit}"


def parse_interval(value: Any) -> Any:
    """The Interval that a text like "200 steps" means; a pydantic validator."""
    if isinstance(value, Interval):
        return value
    match = re.match(PATTERN, value) if isinstance(value, str) else None
    if match is None or float(match[1]) <= 0:
        raise _not_an_interval(value)
    unit: Literal["steps", "epochs"] = "steps" if match[2] == "step" else "epochs"
    if unit == "steps" and "." in match[1]:
        raise _not_an_interval(value)
    return Interval(float(match[1]), unit)


def _not_an_interval(value: Any) -> Exception:
    return problem(
        f"{value!r} is no interval",
        "an interval is a count and a unit; steps come whole, epochs may be a fraction",
        'write for example "200 steps", "1 epoch" or "0.5 epochs"',
    )


IntervalField = Annotated[
    InstanceOf[Interval],
    BeforeValidator(parse_interval),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["200 steps", "1 epoch"]}),
]
