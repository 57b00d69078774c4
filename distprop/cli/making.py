"""`distprop init` and `distprop import`: from a person's data to Parquet and a config that runs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from distprop.cli.options import debug_option
from distprop.cli.output import remark, result
from distprop.errors import ConfigError
from distprop.system_errors import refusals

FEATURES = "data.features."
MOST_TOLD = 20


@click.command(short_help="Look at DATA and write a config that runs.")
@click.argument("data")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option("--out", type=click.Path(path_type=Path), help="The config to write; default: NAME.yaml here.")
@click.option("--force", is_flag=True, help="Write over a config that is there.")
@debug_option
def init(data: str, target: str, out: Path | None, force: bool) -> None:
    """Look at DATA (Parquet files, a folder, sample://NAME) and write a commented config that runs as it is."""
    from distprop.cli.output_file import check_output
    from distprop.config import expand, load_job
    from distprop.data.inspecting import suggest
    from distprop.data.source import open_source

    expanded = expand(data)
    found = suggest(expanded, target)
    comments = found.pop("comments", {})
    job = _as_written(_completed(found), expanded, data)
    load_job(job)  # what is written must load
    path = out or Path(f"{job['name']}.yaml")
    check_output(path, open_source(expanded).files)
    _write(path, job, comments, force)
    for line in _told(comments):
        remark(line)
    remark(f"wrote {path}")
    result(f"next: distprop train {path}", kept=True)


def _told(comments: Mapping[str, str]) -> list[str]:
    """What was left out, changed or doubtful, one line a column; a wide table's last ones are counted."""
    lines = [f"{key.removeprefix(FEATURES)}: {why}" for key, why in comments.items() if key.startswith(FEATURES)]
    more = len(lines) - MOST_TOLD
    return lines if more <= 0 else [*lines[:MOST_TOLD], f"and {more:,} more columns: see the comments in the config"]


def _completed(found: Mapping[str, Any]) -> dict[str, Any]:
    """The job with what the data says nothing about: which model is kept, and where the run is recorded."""
    name = re.sub(r"[^\w.-]+", "-", found["name"]).strip("-") or "job"
    kept = {"checkpoint": {"keep_best": "valid/loss"}} if found["data"].get("valid") else {}
    return {**found, "name": name, **kept, "tracking": {"experiment": name}}


def _as_written(job: dict[str, Any], expanded: str, written: str) -> dict[str, Any]:
    """The job with `${VAR}` in its paths as the person wrote it."""
    folder, wrote = (path.removesuffix(path.rpartition("/")[2]) for path in (expanded, written))
    data = dict(job["data"], train=written)
    for split in ("valid", "test"):
        if isinstance(data.get(split), str):
            data[split] = wrote + data[split].removeprefix(folder)
    return {**job, "data": data}


def _write(path: Path, job: Mapping[str, Any], comments: Mapping[str, str], force: bool) -> None:
    from distprop.cli.writing import config_text
    from distprop.config.schema import FILE
    from distprop.data.cachedir import write_text_whole

    head = [f"yaml-language-server: $schema={FILE}", "Every other key and its default: distprop show"]
    with refusals(f"the config {path} cannot be written"):
        if path.exists() and not force:
            raise ConfigError(
                f"{path} is there already",
                "init writes a new config and leaves alone what you wrote",
                "name another file with --out, or write over it with --force",
            )
        write_text_whole(path, config_text(job, comments, head))


def _size(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """28x28 as (28, 28)."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise click.BadParameter("write height x width, for example 28x28")
    return int(match[1]), int(match[2])


def _one_character(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """A separator; a tab may be written as backslash and t."""
    if text is not None and len(text := text.replace("\\t", "\t")) != 1:
        raise click.BadParameter("write one character")
    return text


@click.command("import", short_help="Turn CSV, NPZ, IDX or images into Parquet.")
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="The folder to write Parquet files into.")
@click.option(
    "--kind",
    type=click.Choice(["auto", "csv", "npz", "idx", "images"]),
    default="auto",
    help="Default: by the files' names.",
)
@click.option("--size", callback=_size, metavar="HxW", help="Of images: bring all to this size.")
@click.option("--grey", is_flag=True, help="Of images: keep brightness only.")
@click.option("--delimiter", callback=_one_character, help="Of CSV: between columns; default: by the first lines.")
@click.option("--decimal", callback=_one_character, default=".", show_default=True, help="Of CSV: the decimal point.")
@click.option("--thousands", callback=_one_character, help="Of CSV: between groups of three digits, as in 6,000.50.")
@click.option("--text", multiple=True, metavar="COLUMN", help="Of CSV: keep it as written (01005); may be given often.")
@click.option("--null", multiple=True, metavar="TEXT", help="Of CSV: stands for a missing value; may be given often.")
@debug_option
def import_data(
    sources: tuple[str, ...], out: str, kind: str, size: tuple[int, int] | None, grey: bool, **csv: Any
) -> None:
    """Turn SOURCES into Parquet files that train as they are.

    SOURCES are CSV files, NPZ archives, a folder of IDX files, or a folder with one folder of images a class.
    """
    from distprop.data.csv_options import CsvOptions
    from distprop.data.importing import import_data as import_files

    options = CsvOptions(**{**csv, "thousands": csv["thousands"] or ""})
    written = import_files(sources, out, kind, size, grey, options, remark)
    for path in written:
        remark(f"wrote {path}")
    train = next((path for path in written if path.stem == "train"), written[0])
    result(f"next: distprop init {train} --target COLUMN", kept=True)
