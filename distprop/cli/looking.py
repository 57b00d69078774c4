"""`distprop show` and `distprop check`: what a job is, and whether it can run, before it does."""

from dataclasses import asdict
from typing import Any

import click

from distprop.cli import kernel
from distprop.cli.failing import WRONG_INPUT
from distprop.cli.options import (
    config_argument,
    debug_option,
    json_option,
    placement_options,
    set_option,
)
from distprop.cli.output import print_json, remark, result


@click.command(short_help="Show a job: keys, layers, sizes, memory, shards.")
@config_argument
@set_option
@json_option
@debug_option
def show(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what a CONFIG describes: every key, layers, sizes, memory, shards. Runs nothing."""
    from distprop.config import load_job

    job = load_job(config, overrides)
    from distprop import training
    from distprop.cli.pages import description_page

    description = training.describe(job)
    if as_json:
        print_json(asdict(description))
    else:
        result(description_page(description), nl=False)


@click.command(short_help="Try everything that a training of CONFIG needs.")
@config_argument
@placement_options
@set_option
@json_option
@debug_option
def check(config: str, overrides: tuple[str, ...], as_json: bool, **placement: Any) -> None:
    """Try everything that a training of CONFIG needs: data, cluster, numerics, tracking, disk, gradients."""
    kernel.ready_for_most()
    from distprop.config import load_job

    job = load_job(config, overrides)
    kernel.ready(job.numerics.blas_kernel)
    from distprop import training
    from distprop.cli.pages import check_line

    results = []
    for found in training.check(job, **placement):
        results.append(found)
        (remark if as_json else result)(check_line(found))
    if as_json:
        print_json([asdict(found) for found in results])
    if not all(found.ok for found in results):
        click.get_current_context().exit(WRONG_INPUT)
