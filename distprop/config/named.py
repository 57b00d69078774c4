"""Layers, losses and optimizers as a config names them: a name, or a mapping from the name to its settings.

Only the form is looked at here. Names and settings are checked against their tables where the thing is built.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from distprop.config.strict import Strict, form, problem


def named(spec: str | Mapping[str, Any]) -> tuple[str, Any]:
    """A spec's name and settings: "relu" -> ("relu", None), {"dense": 256} -> ("dense", 256)."""
    return (spec, None) if isinstance(spec, str) else next(iter(spec.items()))


def one_key(spec: dict[str, Any]) -> dict[str, Any]:
    """The mapping itself, if it has exactly one key; a pydantic validator."""
    if len(spec) != 1:
        raise problem(
            f"a mapping with {len(spec)} keys ({', '.join(map(str, spec))}) where one name is meant",
            "it is a name, or a mapping from one name to its settings",
            "write for example `relu` or `dense: {width: 128}`; in a list, one `- name: ...` a line",
        )
    return spec


Spec = Annotated[
    Annotated[str, Field(min_length=1), Tag("<text>")]
    | Annotated[dict[str, Any], AfterValidator(one_key), Tag("<mapping>")],
    Discriminator(form),
]


class Optimizer(Strict):
    """One optimizer by name with its settings, and beside it what is done to every gradient."""

    name: str
    settings: dict[str, Any]
    clip_norm: float | None = Field(
        default=None, gt=0, description="longest gradient, all parameters together; null: any", examples=[1.0]
    )

    @model_validator(mode="before")
    @classmethod
    def _from_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _not_an_optimizer(f"the optimizer is {value!r}")
        names = [key for key in value if key != "clip_norm"]
        if len(names) != 1:
            raise _not_an_optimizer(f"{len(names)} optimizers are named: {', '.join(map(str, names)) or 'none'}")
        settings = value[names[0]]
        if not isinstance(settings, Mapping | None):
            raise _not_an_optimizer(f"the settings of `{names[0]}` are {settings!r}")
        return {"name": names[0], "settings": dict(settings or {}), "clip_norm": value.get("clip_norm")}

    @model_serializer
    def _to_mapping(self) -> dict[str, Any]:
        return {self.name: self.settings, "clip_norm": self.clip_norm}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the mapping as it is written, not of the fields it is kept in."""
        return {
            "type": "object",
            "title": "Optimizer",
            "description": cls.__doc__ or "",
            "properties": {"clip_norm": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": None}},
            "additionalProperties": {"type": ["object", "null"]},
            "minProperties": 1,
            "maxProperties": 2,
        }


def _not_an_optimizer(what: str) -> Exception:
    return problem(
        what,
        "`optimizer` has exactly one name with a mapping of settings, and may have `clip_norm` beside it",
        "write for example `optimizer: {adamw: {learning_rate: 0.001}, clip_norm: 1.0}`",
    )
