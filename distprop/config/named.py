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
    PositiveInt,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from distprop.config.strict import Strict, form, problem
from distprop.suggest import closest


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


def one_column(spec: dict[str, Any]) -> dict[str, Any]:
    """The mapping itself, if it names exactly one column; a pydantic validator."""
    if len(spec) != 1:
        raise problem(
            f"{len(spec)} columns ({', '.join(map(str, spec))})",
            "a job predicts one column",
            "write for example `target: {price: standardize}`; several values of a row are one column of lists",
        )
    return spec


Target = Annotated[
    Annotated[str, Field(min_length=1), Tag("<text>")]
    | Annotated[dict[str, Any], AfterValidator(one_column), Tag("<mapping>")],
    Discriminator(form),
]
Patterns = Annotated[tuple[str, ...], Field(strict=False)]
Factor = Annotated[float, Field(ge=0)]


class Optimizer(Strict):
    """One optimizer by name with its settings, and beside it what is done to every gradient and all weights."""

    name: str
    settings: dict[str, Any]
    clip_norm: float | None = Field(
        default=None, gt=0, description="longest gradient, all parameters together; null: any", examples=[1.0]
    )
    clip_value: float | None = Field(
        default=None,
        gt=0,
        description="largest value of a gradient, cut off before the norm; null: any",
        examples=[0.5],
    )
    decay_exclude: Patterns = Field(
        default=(), description="parameters without weight decay, by patterns of names", examples=[["*.b", "*norm*"]]
    )
    rates: dict[str, Factor] = Field(
        default={},
        description="factors of the learning rate by patterns of parameters' names; 0: frozen",
        examples=[{"0.*": 0.1}],
    )
    average: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="decay of a moving average of the weights, which is what is evaluated and kept; null: none",
        examples=[0.999],
    )
    accumulate: PositiveInt = Field(
        default=1, description="steps whose gradients are averaged for one change of the weights", examples=[4]
    )

    @property
    def extras(self) -> dict[str, Any]:
        """What is beside the optimizer's name."""
        return {key: getattr(self, key) for key in _EXTRAS}

    @property
    def watched(self) -> str | None:
        """The metric that lowers the learning rate, where one does."""
        rate = self.settings.get("learning_rate")
        plateau = rate.get("reduce_on_plateau") if isinstance(rate, Mapping) else None
        metric = plateau.get("metric", "valid/loss") if isinstance(plateau, Mapping) else "valid/loss"
        return str(metric) if isinstance(rate, Mapping) and "reduce_on_plateau" in rate else None

    @model_validator(mode="before")
    @classmethod
    def _from_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _not_an_optimizer(f"the optimizer is {value!r}")
        names = [key for key in value if key not in _EXTRAS]
        if len(names) != 1:
            guesses = [guess for name in names if (guess := closest(str(name), _EXTRAS)) and len(names) > 1]
            what = f"{len(names)} optimizers are named: {', '.join(map(str, names)) or 'none'}"
            raise _not_an_optimizer(what, f"did you mean `{guesses[0]}`?" if guesses else "")
        settings = value[names[0]]
        if not isinstance(settings, Mapping | None):
            raise _not_an_optimizer(f"the settings of `{names[0]}` are {settings!r}")
        extras = {key: value[key] for key in _EXTRAS if key in value}
        return {"name": names[0], "settings": dict(settings or {}), **extras}

    @model_serializer
    def _to_mapping(self) -> dict[str, Any]:
        return {self.name: self.settings, **self.extras, "decay_exclude": list(self.decay_exclude)}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the mapping as it is written, not of the fields it is kept in."""
        fields = handler.resolve_ref_schema(handler(schema))["properties"]
        return {
            "type": "object",
            "title": "Optimizer",
            "description": cls.__doc__ or "",
            "properties": {key: fields[key] for key in _EXTRAS},
            "additionalProperties": {"type": ["object", "null"]},
            "minProperties": 1,
            "maxProperties": 1 + len(_EXTRAS),
        }


_EXTRAS = tuple(key for key in Optimizer.model_fields if key not in ("name", "settings"))


def _not_an_optimizer(what: str, fix: str = "") -> Exception:
    return problem(
        what,
        f"`optimizer` has exactly one name with a mapping of settings, and may have beside it: {', '.join(_EXTRAS)}",
        fix or "write for example `optimizer: {adamw: {learning_rate: 0.001}, clip_norm: 1.0}`",
    )
