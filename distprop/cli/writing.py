"""A job as a config file that a person likes to read: sections in order, short values on one line, comments."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100  # longer values go over several lines
COMMENT_COLUMN = 44
ORDER = ("name", "seed", "data", "model", "loss", "metrics", "optimizer", "train", "checkpoint", "tracking")
OPENED = ("data", "optimizer", "checkpoint", "train")  # sections with one line a key
COMMENTS = {
    "seed": "all randomness: weights, row order, dropout",
    "data.valid": "rows that choose the model; they are not trained on",
    "data.test": "rows that are measured once, at the end; they choose nothing",
    "data.features": "columns to learn from, and what is done to them",
    "model": "layers, from input to output",
    "checkpoint.keep_best": "which model is kept",
}


def config_text(job: Mapping[str, Any], comments: Mapping[str, str], head: Sequence[str] = ()) -> str:
    """The job as commented YAML.

    comments: dotted key -> one line; those on keys that the job does not have stand in its section, as lines of
    their own. head: comment lines on top.
    """
    writer = _Writer({**COMMENTS, **comments})
    for key in [*ORDER, *(key for key in job if key not in ORDER)]:
        if key in job:
            writer.section(key, job[key])
    return "\n".join([*(f"# {line}" for line in head), *writer.lines, ""])


class _Writer:
    def __init__(self, comments: Mapping[str, str]) -> None:
        self.comments, self.lines = comments, list[str]()

    def section(self, key: str, value: Any) -> None:
        if key in OPENED and isinstance(value, Mapping):
            self._line(f"{key}:", key)
            for name, part in value.items():
                self._entry(f"{key}.{name}", name, part, "  ")
        elif key == "model" and isinstance(value, list):
            self._line("model:", key)
            self.lines += [f"  - {_layer(layer)}" for layer in value]
        else:
            self._entry(key, key, value, "")

    def _entry(self, path: str, key: str, value: Any, indent: str) -> None:
        """One key on a line of its own where it fits, else one line for each key inside."""
        line = f"{indent}{flow(key)}: {flow(value)}"
        inside = {at: text for at, text in self.comments.items() if at.startswith(f"{path}.")}
        if not isinstance(value, Mapping) or not value or (len(line) <= WIDTH and not inside):
            return self._line(line, path)
        self._line(f"{indent}{flow(key)}:", path)
        for name, part in value.items():
            self._line(f"{indent}  {flow(name)}: {flow(part)}", f"{path}.{name}")
        absent = {at.removeprefix(f"{path}.") for at in inside} - {str(name) for name in value}
        self.lines += [f"{indent}  # {name}: {self.comments[f'{path}.{name}']}" for name in sorted(absent)]
        return None

    def _line(self, line: str, path: str) -> None:
        comment = self.comments.get(path)
        self.lines.append(f"{line:<{COMMENT_COLUMN}} # {comment}" if comment else line)


def _layer(spec: Any) -> str:
    """A layer as an entry of a list, without the braces of its one key."""
    text = flow(spec)
    return text[1:-1] if isinstance(spec, Mapping) and len(spec) == 1 else text


def flow(value: Any) -> str:
    """A value in YAML on one line: {adamw: {learning_rate: 0.001}}."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.width, writer.allow_unicode = True, 10**6, True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    writer.dump(value, text)
    return text.getvalue().removesuffix("...\n").strip("\n")
