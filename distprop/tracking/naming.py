"""MLflow's limits on names and values, kept before anything is sent."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import islice

MOST_NAME = 250
MOST_PARAM = 6000
MOST_TAG = 5000
MOST_DIGEST = 36

LAYERS, FAULTS = "z-layers/", "z-faults/"
"""What metrics of layers and of faults begin with: MLflow's pages sort sections by name, train and valid come first."""

_ILLEGAL = re.compile(r"[^/\w.\- ]")


def legal_name(name: str) -> str:
    """`name` with what MLflow refuses replaced by _ : `[`, `+`, `@` and the like, and paths such as `../x`."""
    clean = _ILLEGAL.sub("_", name)[:MOST_NAME]
    if posixpath.normpath(clean) != clean or clean.startswith(("/", "..")) or clean == ".":
        clean = "_".join(part for part in clean.split("/") if part.strip(".")).lstrip(".")
    return clean or "_"


def model_name(job: str) -> str:
    """What the model of a job is called: its name without what MLflow refuses in names of models."""
    return re.sub(r"[/:.%\"']", "_", job)[:MOST_NAME] or "model"


def cut(text: str, most: int) -> str:
    """`text`, its end replaced by … where it is longer than `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def portions(values: Mapping[str, str], size: int) -> Iterator[dict[str, str]]:
    """The mapping in pieces of at most `size` entries: a request has a limit."""
    entries = iter(values.items())
    while piece := dict(islice(entries, size)):
        yield piece
