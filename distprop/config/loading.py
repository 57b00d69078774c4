"""From a file, a text or a mapping to a checked job.

Precedence is one sentence: the file, then overrides in order; the environment counts only inside `${VAR}`.
"""

import copy
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distprop.config.expanding import misplaced
from distprop.config.explaining import dotted, explain, missing
from distprop.config.job import Job
from distprop.config.overrides import Overrides, override
from distprop.config.plain_values import plain, with_numbers, with_numbers_in_settings
from distprop.config.reading import Document, is_plain, leaves, read_text
from distprop.errors import ConfigError

LONGEST = 16 * 2**20  # bytes of a config


def load_job(
    source: str | Path | Mapping[str, Any] | Job, overrides: Overrides = (), *, in_memory: bool = False
) -> Job:
    """The job of a YAML file (by its path), a mapping with the same keys, or another job; with overrides.

    in_memory: the training rows are handed over by the caller, so `data.train` may be missing.
    Raises ConfigError saying what, on which line, why, and what to write instead.
    """
    if not isinstance(source, str | os.PathLike | Mapping | Job):
        raise ConfigError(
            f"a {type(source).__name__} is no job",
            "a job is a config's path, a mapping with its keys, or a Job",
            'give for example "job.yaml"; `distprop init FILE --target COLUMN` writes one',
        )
    folder = Path(source).resolve().parent if isinstance(source, str | os.PathLike) else None
    if isinstance(source, Job):
        folder = source.folder
    job = _checked(override(_document(source), overrides), in_memory)
    job._folder = folder
    return job


def parse_job(text: str, overrides: Overrides = (), origin: str = "the text") -> Job:
    """The job of a YAML text, such as `Job.to_yaml` gives or an MLflow run has as artifact."""
    return _checked(override(read_text(text, origin), overrides), in_memory=True)


def _document(source: str | Path | Mapping[str, Any] | Job) -> Document:
    if isinstance(source, Job):
        return Document(source.plain(), "the job")
    if isinstance(source, Mapping):
        return Document(copy.deepcopy(plain(source)), "the mapping", read_by_others=True)
    document = read_text(_text_of(Path(source)), str(source))
    document.data.setdefault("name", Path(source).stem)
    return document


def _text_of(path: Path) -> str:
    try:
        return _short_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"cannot read the config {path}",
            str(reason),
            "name a YAML file, or write one with `distprop init FILE --target COLUMN`",
        ) from error


def _short_text(path: Path) -> str:
    """No more of it than a job is long: a device or a table would take all memory."""
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise OSError(errno.EFBIG, f"it is longer than {LONGEST:,} bytes, and no job is")
    return content.decode("utf-8")


def _checked(document: Document, in_memory: bool) -> Job:
    _no_misplaced_variables(document)
    if document.read_by_others:
        document = with_numbers_in_settings(document)
    try:
        job = Job.model_validate(document.data)
    except ValidationError as error:
        numbered = with_numbers(document, error) if document.read_by_others else None
        if numbered is not None:
            return _checked(numbered, in_memory)
        raise explain(error, document) from None
    _only_plain_values(document)
    if job.data.train is None and not in_memory:
        raise missing("data.train", document)
    return job


def _only_plain_values(document: Document) -> None:
    """Settings that only the layers and optimizers know must be plain, too: the recipe is hashed as JSON."""
    for path, value in leaves(document.data):
        if not is_plain(value):
            raise ConfigError(
                f"`{dotted(path)}` is {value!r} in {document.place(path)}",
                "a job holds text, finite numbers, true, false, null, lists and mappings only",
                "write a finite number, or put quotes around what is meant as text",
            )


def _no_misplaced_variables(document: Document) -> None:
    for path, text in misplaced(document.data):
        raise ConfigError(
            f"`{dotted(path)}` is {text!r} in {document.place(path)}",
            "variables are expanded in data paths, checkpoint.dir, tracking and cluster.address only: "
            "nothing else may depend on the environment",
            f"write the value itself, or give it on the command line: --set {dotted(path)}=...",
        )
