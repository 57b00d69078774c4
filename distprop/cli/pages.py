"""Values as pages of text: the layers of a model, the shards of the data, a list of checks."""

import re
from collections.abc import Iterable, Sequence

import click

from distprop.report import CheckResult, Description


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines with aligned columns: text to the left, numbers to the right."""
    cells = [[str(cell) for cell in head], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(_numeric(line[place]) for line in cells[1:]) for place in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, tuple):
        return " x ".join(map(str, value)) or "one value"
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _numeric(text: str) -> bool:
    return re.fullmatch(r"(-?[\d,.]+(e[+-]\d+)?( [kMG]?B)?)?", text) is not None


def memory(size: int) -> str:
    """A number of bytes for a person: 12.3 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def check_line(result: CheckResult) -> str:
    """One check: a mark, what was looked at, what was found, and what to do about it."""
    mark = click.style("ok", fg="green") if result.ok else click.style("no", fg="red", bold=True)
    if result.ok and result.fix:
        mark = click.style("!!", fg="yellow", bold=True)
    line = f"{mark}  {result.name}: {result.detail}"
    return f"{line}\n    fix: {result.fix}" if result.fix else line


def description_page(description: Description) -> str:
    """The page that `distprop show` prints."""
    return "\n".join(
        [
            _heading("job"),
            description.config.rstrip(),
            *_model(description),
            *_data(description),
            *_sizes(description),
            *(f"note: {note}" for note in description.notes),
            "",
        ]
    )


def _each(count: int, word: str, size: int) -> str:
    return f"1 {word} with {memory(size)}" if count == 1 else f"{count} {word}s with {memory(size)} each"


def _heading(text: str) -> str:
    return click.style(f"# {text}", bold=True)


def _model(description: Description) -> list[str]:
    rows = [
        (
            layer.name,
            layer.output_shape,
            layer.parameters,
            layer.flops_per_row,
            memory(layer.activation_bytes_per_row),
        )
        for layer in description.layers
    ]
    return [
        "",
        _heading("model"),
        f"input: {_cell(description.input_shape)}",
        *table(("layer", "output", "parameters", "FLOPs a row", "memory a row"), rows),
        f"{description.parameters:,} parameters; {description.flops_per_row:,} FLOPs a row, "
        f"{description.flops_per_step:,} a step (forward and backward)",
    ]


def _data(description: Description) -> list[str]:
    shards = [(shard.shard, shard.rows, shard.leaf_rows, shard.steps) for shard in description.shards]
    return [
        "",
        _heading("data"),
        f"{description.train_rows:,} rows to train on, "
        f"{description.valid_rows:,} valid, {description.test_rows:,} test",
        *table(("shard", "rows", "rows a step", "steps an epoch"), shards),
        f"{description.steps_per_epoch:,} steps an epoch, {description.last_version:,} in "
        + ("the whole training" if description.starts == 1 else f"each of {description.starts} starts"),
    ]


def _sizes(description: Description) -> list[str]:
    return [
        "",
        _heading("cluster"),
        f"{_each(description.workers, 'worker', description.worker_bytes)}, "
        f"{_each(description.servers, 'server', description.server_bytes)}",
        f"recipe {description.recipe_hash}",
    ]
