"""`distprop find-rate`: which learning rate to try."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from distprop.cli import kernel
from distprop.cli.options import (
    config_argument,
    debug_option,
    inline_option,
    json_option,
    placement_options,
    set_option,
)
from distprop.cli.output import print_json, remark, result
from distprop.errors import DistpropError
from distprop.system_errors import refusals

LINES, WIDTH = 25, 40


@click.command(name="find-rate", short_help="Try learning rates on the job of a CONFIG file.")
@config_argument
@click.option("--from", "lowest", type=float, default=1e-6, show_default=True, help="The smallest rate.")
@click.option("--to", "highest", type=float, default=10.0, show_default=True, help="The largest rate.")
@click.option("--steps", type=int, default=100, show_default=True, help="How many rates are tried, a step each.")
@click.option("--picture", metavar="FILE.png", help="Where its picture goes; default: NAME_rates.png.")
@placement_options
@inline_option
@set_option
@json_option
@debug_option
def find_rate(config: str, overrides: tuple[str, ...], picture: str | None, as_json: bool, **asked: Any) -> None:
    """Try learning rates on the job of a CONFIG file: a short training whose rate rises until the loss breaks.

    Suggests the rate at which the loss falls fastest (Smith 2017). Leaves nothing behind but a picture: no run, no
    checkpoint, no model.
    """
    kernel.ready_for_most()
    from distprop.config import load_job

    job = load_job(config, overrides)
    kernel.ready(job.numerics.blas_kernel)
    from distprop import training
    from distprop.console import Console

    with Console() as console:
        test = training.find_rate(job, listeners=[console], **asked)
    (remark if as_json else result)("\n".join(page(test)))
    if as_json:
        print_json(asdict(test))
    if test.losses:
        _draw(test, picture, job.name)


def page(test: Any) -> Iterator[str]:
    """The test (a report.RateTest) as lines: rates, losses, a curve of text, and what to make of it."""
    from distprop.cli.pages import table

    if not test.losses:
        yield "no step had a finite loss: look at the data and the initial weights, not at the rate"
        return
    shown = range(0, len(test.losses), -(-len(test.losses) // LINES))
    least, most = min(test.losses), max(test.losses[0], min(test.losses))
    rows = [(f"{test.rates[i]:.2e}", f"{test.losses[i]:.4f}", _bar(test.losses[i], least, most)) for i in shown]
    yield from table(("rate", "loss", ""), rows)
    if test.suggestion is None:
        yield "the loss fell at none of these rates: look at the data and the model, or try --from and --to further out"
    else:
        yield f"suggestion: learning_rate {test.suggestion:.1e}, where the loss falls fastest"
        yield f"  it is smallest at {test.smallest:.1e}: a peak for one_cycle or warm-up lies below"
    if test.broke_at is not None:
        yield f"  it breaks at {test.broke_at:.1e}"


def _bar(loss: float, least: float, most: float) -> str:
    """From nothing at the smallest loss to the whole width at the first; an arrow for what lies beyond."""
    part = (loss - least) / (most - least) if most > least else 0.0
    return "#" * round(WIDTH * part) if part <= 1.0 else "#" * WIDTH + ">"


def _draw(test: Any, asked: str | None, name: str) -> None:
    """Draw the picture; one that nobody asked for is left out where it cannot be written. Raises DistpropError."""
    from importlib.util import find_spec
    from pathlib import Path

    if find_spec("matplotlib") is None:
        remark("no picture: matplotlib is not installed")
        return
    from distprop.tracking.rates import draw_rates

    path = asked or f"{name}_rates.png"
    try:
        with refusals(f"the picture {path} cannot be written"):
            drawn = draw_rates(test.rates, test.losses, test.suggestion, Path(path))
    except DistpropError as error:
        if asked:
            raise
        remark(f"no picture: {error.what} ({error.why})")
    else:
        remark(f"picture: {drawn}")
