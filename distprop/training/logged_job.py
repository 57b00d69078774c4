"""A job as its MLflow run shows it: parameters that name layers as metrics do, and where the data was read."""

import os
import re
from collections.abc import Mapping
from typing import Any

from distprop.config import Job, expand
from distprop.training.assembling import Assembly

LAYER = re.compile(r"^model\.(\d+)")


def run_parameters(assembly: Assembly) -> dict[str, str]:
    """The recipe as flat parameters: "model.1.dense" is the layer whose metrics end in `/1.dense`.

    The network numbers its layers after a flatten was put in front of a dense layer, where its rows need one.
    """
    put_in_front = len(assembly.blueprint.network.specs) - len(assembly.job.model)

    def renumbered(found: re.Match[str]) -> str:
        return f"model.{int(found[1]) + put_in_front}"

    return {LAYER.sub(renumbered, name): value for name, value in assembly.job.flat().items()}


def with_logged_source(used: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """A split's record; its source says which files were read, without giving away what an address may hide.

    A local path is shown with its variables filled in: an unexpanded `${DATA}` would not tell two data sets apart.
    Anything else, such as `s3://${KEY}@host/...`, stays as the job has it.
    """
    written = getattr(job.data, used["split"])
    if isinstance(written, str):
        return {**used, "source": logged_source(written)}
    if isinstance(written, tuple):
        return {**used, "source": ", ".join(map(logged_source, written))}
    return dict(used)


def logged_source(written: str) -> str:
    """`written` with its variables filled in where that gives a path that is on this machine."""
    if "${" not in written:
        return written
    filled = expand(written)
    fixed = re.split(r"[*?\[]", filled)[0]  # of a pattern, the part that is a path
    is_path = "://" not in filled and os.path.exists(fixed if fixed == filled else os.path.dirname(fixed) or ".")
    return filled if is_path else written
