"""`distprop train` and `distprop resume`."""

import os
from typing import Any, Literal

import click

from distprop.cli import kernel
from distprop.cli.failing import EXIT_CODES
from distprop.cli.options import (
    config_argument,
    debug_option,
    inline_option,
    json_option,
    placement_options,
    set_option,
    trust_option,
)
from distprop.cli.output import print_json, remark, result


@click.command(short_help="Train the job of a CONFIG file.")
@config_argument
@placement_options
@inline_option
@set_option
@click.option("--run-key", metavar="KEY", help="Name this training, so that a retry of it can go on.")
@click.option(
    "--resume",
    type=click.Choice(["auto", "never", "must"]),
    default=None,
    help="With --run-key: go on from KEY's newest checkpoint. Default: auto with a key.",
)
@click.option("--profile", is_flag=True, help="Say where the time goes, by layer, and keep a Chrome trace in the run.")
@click.option("--dry-run", is_flag=True, help="Everything but the training: data, cluster, tracking, plan.")
@json_option
@debug_option
def train(
    config: str,
    inline: bool,
    overrides: tuple[str, ...],
    run_key: str | None,
    resume: Literal["auto", "never", "must"] | None,
    dry_run: bool,
    profile: bool,
    as_json: bool,
    **placement: Any,
) -> None:
    """Train the job of a CONFIG file.

    Needs no cluster and no servers: without --address it starts a local Ray, and records the run in mlflow.db.
    Where it runs and on how many workers never changes the numbers.
    """
    if resume in ("auto", "must") and run_key is None:
        raise click.UsageError(f"--resume {resume} needs --run-key KEY: the name of the training to go on with.")
    kernel.ready_for_most()
    from distprop.config import load_job

    job = load_job(config, overrides)
    kernel.ready(job.numerics.blas_kernel)
    _say_what_begins(inline, placement["address"], run_key)
    from distprop import training
    from distprop.console import Console

    mode = resume or ("never" if run_key is None else "auto")
    with Console() as console:
        asked: dict[str, Any] = {"run_key": run_key, "resume": mode, "dry_run": dry_run, "profile": profile}
        ended = training.train(job, inline=inline, listeners=[console], **asked, **placement)
    _finish(ended, as_json)


@click.command(short_help="Go on with a training from its newest checkpoint.")
@click.argument("run")
@placement_options
@inline_option
@trust_option
@json_option
@debug_option
def resume(run: str, inline: bool, trust: tuple[str, ...], as_json: bool, **placement: Any) -> None:
    """Go on with a training from its newest checkpoint: RUN is a run id or the path of a checkpoint.

    Any number of workers and servers may go on: the numbers are those of a training that was never interrupted.
    """
    kernel.ready_for_most()
    from distprop import training

    kernel.ready(training.job_of(run).numerics.blas_kernel)
    _say_what_begins(inline, placement["address"], run)
    from distprop.console import Console

    with Console() as console:
        ended = training.resume(run, inline=inline, listeners=[console], trust=trust, **placement)
    _finish(ended, as_json)


def _say_what_begins(inline: bool, address: str | None, may_go_on: str | None) -> None:
    """The first line: imports, rows and Ray take seconds, in which a person wants to see that something happens.

    may_go_on: the key or run of a training that may have ended already, and then starts no Ray.
    """
    if may_go_on is not None:
        remark("looking at what is trained already ...")
    elif inline:
        remark("looking through the rows ...")
    else:
        remark("connecting to Ray ..." if address or os.environ.get("RAY_ADDRESS") else "starting Ray ...")


def _finish(ended: Any, as_json: bool) -> None:
    """Print the summary (on stderr, if stdout is for JSON) and end with the status' exit code."""
    from distprop.console import summary

    if as_json:
        remark(summary(ended))
        print_json(ended.plain(), kept=True)
    else:
        result(summary(ended), kept=True)
    click.get_current_context().exit(EXIT_CODES[ended.status])
