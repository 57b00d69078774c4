"""`distprop list` and `distprop ui`: the runs so far."""

import os
import signal
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distprop.cli.failing import DONE, FAILED
from distprop.cli.options import debug_option, json_option, uri_option
from distprop.cli.output import print_json, remark, result
from distprop.errors import CheckpointError
from distprop.report import finite
from distprop.system_errors import refusals

if TYPE_CHECKING:
    from distprop.tracking.runs import RunRow

HEAD = ("run", "name", "status", "started", "measured", "digest")
MOST_METRICS = 3


@click.command("list", short_help="List the runs, newest first.")
@uri_option
@click.option("--experiment", help="Default: MLFLOW_EXPERIMENT_NAME, else all.")
@json_option
@debug_option
def list_runs(uri: str | None, experiment: str | None, as_json: bool) -> None:
    """List the runs that MLflow knows, newest first."""
    from distprop.cli.pages import table
    from distprop.tracking import runs
    from distprop.tracking.address import resolve_uri

    wanted = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or None
    rows = runs.list_runs(resolve_uri(uri).uri, wanted)
    if as_json:
        print_json([_plain(row) for row in rows])
    elif rows:
        result("\n".join(table(HEAD, [_cells(row) for row in rows])))
    else:
        remark("no runs yet: start one with `distprop train CONFIG`")


def _plain(row: "RunRow") -> dict[str, object]:
    return {**asdict(row), "metrics": {name: finite(value) for name, value in row.metrics.items()}}


def _cells(row: "RunRow") -> tuple[str, ...]:
    started = datetime.fromtimestamp(row.started).strftime("%Y-%m-%d %H:%M")
    return row.run_id, row.name, row.status, started, _measured(row), (row.digest or "")[:12]


def _measured(row: "RunRow") -> str:
    """The metrics that say most: of test rows, else of validation rows, else of training rows."""
    for split in ("test/", "valid/", "train/"):
        of_split = [(name, value) for name, value in sorted(row.metrics.items()) if name.startswith(split)]
        if of_split:
            return "  ".join(f"{name} {value:.4g}" for name, value in of_split[:MOST_METRICS])
    return ""


@click.command(short_help="Send what MLflow did not get while it was away.")
@click.argument("run")
@uri_option
@debug_option
def sync(run: str, uri: str | None) -> None:
    """Send what MLflow did not get of RUN while it was away.

    RUN is a run id, or the path of a spool. A run is looked for under this folder, and where MLflow says that its
    checkpoints are.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a slow server may take its time: no training waits
    with refusals(f"the records of {run} cannot be sent"):
        whole = _sent(run, uri)
    click.get_current_context().exit(DONE if whole else FAILED)


def _sent(run: str, uri: str | None) -> bool:
    """Send what waits; whether all of the run is in MLflow now."""
    from distprop.tracking.sync import sync as send

    whole = True
    for spool in _spools_of(run, uri):
        summary = send(spool)
        result(f"sent: {summary.delivered:,} records of run {summary.run_id} are in MLflow", kept=True)
        if summary.gap:
            remark(f"not all of the run is in MLflow: {summary.gap}")
            whole = False
    return whole


def _spools_of(run: str, uri: str | None) -> list[Path]:
    """The spool of a run, and those of the starts that are shown in it."""
    from distprop.tracking.spool import JOB, find_all

    if (Path(run) / JOB).is_file():
        return find_all(Path(run).parent, Path(run).name) or [Path(run)]
    for folder in (Path("spool"), *sorted(Path().glob("*/*/spool"))):
        if found := find_all(folder, run):
            return found
    if found := _elsewhere(run, uri):
        return found
    raise CheckpointError(
        f"nothing waits to be sent for {run}",
        f"no spool under {Path.cwd()}, or beside the checkpoints that MLflow names, belongs to it",
        "see `distprop list`; if records do wait elsewhere, give --uri, or the spool's path",
    )


def _elsewhere(run: str, uri: str | None) -> list[Path]:
    """The spools in the folder that the run's tag names, where somebody knows the run."""
    from distprop.errors import AddressError
    from distprop.tracking import runs
    from distprop.tracking.address import resolve_uri
    from distprop.tracking.spool import find_all

    try:
        folder = runs.checkpoint_folder(run, resolve_uri(uri).uri)
    except AddressError:
        if uri is not None:
            raise
        return []
    return find_all(Path(folder) / "spool", run) if folder else []


@click.command(short_help="Show the runs in a browser.")
@uri_option
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of this machine, for the pages."
)
@debug_option
def ui(uri: str | None, port: int) -> None:
    """Show the runs in a browser, on MLflow's own pages; Ctrl-C or SIGTERM ends it."""
    from distprop.tracking import ui as pages
    from distprop.tracking.address import resolve_uri

    runs = resolve_uri(uri).uri
    if pages.is_server(runs):
        result(f"the runs are at {pages.pages(runs)}")
        return
    pages.require_free(port)
    result(f"the runs will be at {pages.pages(f'http://{pages.HOST}:{port}')}", kept=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        code = pages.serve(runs, port)
    except KeyboardInterrupt:
        code = 0
    click.get_current_context().exit(code)
