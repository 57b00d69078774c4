"""Words that several commands have in common."""

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator that adds all of `options`, in the order in which `--help` shows them."""
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(dict)["debug"] = True


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show a traceback on errors."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, last, on stdout.")
config_argument = click.argument("config", type=click.Path())
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the config: train.epochs=3."
)
placement_options = together(
    click.option("--workers", type=click.IntRange(min=1), metavar="N", help="How many; default: cluster.workers."),
    click.option("--servers", type=click.IntRange(min=1), metavar="N", help="How many; default: cluster.servers."),
    click.option("--address", metavar="auto|HOST:PORT", help="A running Ray cluster; default: one of our own."),
)
inline_option = click.option("--inline", is_flag=True, help="In this process, without Ray: same numbers.")
uri_option = click.option(
    "--uri", help="The MLflow server or store; default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
)

trust_option = click.option(
    "--trust",
    multiple=True,
    metavar="MODULE",
    help="A module of your own whose functions (layers) it may run; may be given often. No other code is run.",
)
