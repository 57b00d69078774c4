"""The base of all config models, and how a value that may have several forms is told apart."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """Frozen; unknown keys are errors; text is never read as a number, nor a number as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def form(value: object) -> str:
    """The form of a YAML value, in angle brackets: the tag that picks one branch of a union.

    Branches picked by form give one error each, about the branch that was meant; the brackets let
    `explaining` leave the tag out of the path that it shows.
    """
    if value is None:
        return "<null>"
    if isinstance(value, bool):
        return "<true or false>"
    if isinstance(value, int | float):
        return "<number>"
    if isinstance(value, str):
        return "<text>"
    return "<mapping>" if isinstance(value, Mapping | BaseModel) else "<list>"


def problem(what: str, why: str, fix: str) -> PydanticCustomError:
    """An error for a validator to raise, with our own three sentences instead of pydantic's one."""
    context: dict[str, Any] = {"what": what, "why": why, "fix": fix}
    return PydanticCustomError("problem", "{what}", context)
