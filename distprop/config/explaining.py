"""From pydantic's errors to ours: what is wrong and on which line, why, and what to write instead."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from distprop.config.job import Job
from distprop.config.reading import Document, Path
from distprop.errors import ConfigError
from distprop.suggest import suggest_name

MUST_BE = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "a list of at least {min_length}",
    "string_too_short": "text that is not empty",
    "literal_error": "{expected}",
}


def explain(error: ValidationError, document: Document) -> ConfigError:
    """One ConfigError for the mistake to mend first: unknown keys (they make others), else the first."""
    details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
    detail = details[0]
    path = tuple(part for part in detail["loc"] if not str(part).startswith(("<", "[key]")))
    if detail["type"] == "extra_forbidden":
        return _unknown_key(path, document)
    if detail["type"] == "problem":
        return _own_problem(detail, path, document)
    if detail["type"] == "missing":
        return _missing(path, document)
    return _wrong_value(detail, path, document)


def missing(key: str, document: Document) -> ConfigError:
    """The error for the key, written with dots, that the job must have."""
    return _missing(tuple(key.split(".")), document)


def _unknown_key(path: Path, document: Document) -> ConfigError:
    section = ".".join(map(str, path[:-1]))
    model = _model_at(path[:-1])
    known = sorted(model.model_fields) if model else []
    owner = f"`{section}`" if section else "a job"
    return ConfigError(
        f"unknown key `{dotted(path)}` in {document.place(path)}",
        f"{owner} has {', '.join(known)}",
        suggest_name(str(path[-1]), known, f"{section}." if section else ""),
    )


def _own_problem(detail: ErrorDetails, path: Path, document: Document) -> ConfigError:
    told = detail["ctx"]
    name = dotted(path)
    what = told["what"] if not name or f"`{name}" in told["what"] else f"`{name}`: {told['what']}"
    return ConfigError(f"{what} in {document.place(path)}", told["why"], told["fix"])


def _missing(path: Path, document: Document) -> ConfigError:
    why, fix = _about(path)
    return ConfigError(f"missing key `{dotted(path)}` in {document.place(path)}", why, fix)


def _wrong_value(detail: ErrorDetails, path: Path, document: Document) -> ConfigError:
    context = detail.get("ctx", {})
    if detail["type"] == "union_tag_invalid":
        expected = context["expected_tags"].replace("'", "").replace("<", "").replace(">", "").replace(", ", " or ")
    else:
        expected = MUST_BE.get(detail["type"], "").format(**context)
    said = f"must be {expected}, not" if expected else "cannot be"
    why, fix = _about(path)
    what = f"`{dotted(path)}` {said} {shown(detail['input'])}, in {document.place(path)}"
    return ConfigError(what, why or detail["msg"], fix)


def _about(path: Path) -> tuple[str, str]:
    """Why and fix from the description, examples or keys of what `path` is, or of what it lies in."""
    if path and isinstance(path[-1], int):  # an entry of a list: the list's own description has an example
        return _about(path[:-1])
    field, section = _field_at(path), _model_at(path)
    if field is None or not field.description:
        if section is None:
            return _about(path[:-1])
        return str(section.__doc__), f"write a mapping with the keys {', '.join(section.model_fields)}"
    examples = " or ".join(f"`{path[-1]}: {shown(example)}`" for example in field.examples or ())
    return f"`{path[-1]}`: {field.description}", f"write for example {examples}"


def dotted(path: Path) -> str:
    """A path as a person writes it: model.0.dense."""
    return ".".join(map(str, path))


def shown(value: Any) -> str:
    """A value as it is written in YAML's flow style, cut where it is long."""
    if isinstance(value, str):
        text = value if value and value[0].isalpha() and ": " not in value else json.dumps(value)
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {shown(part)}" for key, part in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(map(shown, value)) + "]"
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _field_at(path: Path) -> FieldInfo | None:
    """The field that describes `path`, or None for an entry of a list or of a free mapping."""
    model = _model_at(path[:-1])
    if model and path and str(path[-1]) in model.model_fields:
        return model.model_fields[str(path[-1])]
    return None


def _model_at(path: Path) -> type[BaseModel] | None:
    """The model that checks the mapping at `path`, or None."""
    model: type[BaseModel] | None = Job
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if model else None
        model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model inside a type such as `tuple[Fault, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
