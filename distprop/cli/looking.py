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
    print_json,
    set_option,
)


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
        click.echo(description_page(description), nl=False)


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
    for result in training.check(job, **placement):
        results.append(result)
        click.echo(check_line(result), err=as_json)
    if as_json:
        print_json([asdict(result) for result in results])
    if not all(result.ok for result in results):
        click.get_current_context().exit(WRONG_INPUT)
