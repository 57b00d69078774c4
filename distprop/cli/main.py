"""The `distprop` command: its subcommands, and how it fails."""

import os
import sys
from typing import Any

import click

from distprop import __version__, standard_streams
from distprop.cli.failing import fail
from distprop.cli.finding import find_rate
from distprop.cli.looking import check, show
from distprop.cli.making import import_data, init
from distprop.cli.runs import list_runs, sync, ui
from distprop.cli.training import resume, train
from distprop.cli.using import evaluate, predict
from distprop.system_errors import refusals, require_text


class Commands(click.Group):
    """A group that ends every failure as what / why / fix with the right exit code, and lists in our order."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click does; but no standard stream that is closed or full changes how the command ends."""
        standard_streams.prepare()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of what click itself prints: `distprop --help >/dev/full`
            sys.exit(fail(error, debug=False))
        finally:
            standard_streams.settle()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `failing` for exit codes."""
        try:
            _require_folder()
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt, click.Abort) as error:
            return ctx.exit(fail(error, debug=bool(ctx.ensure_object(dict).get("debug"))))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of a person's way through them."""
        return list(self.commands)


def _require_folder() -> None:
    """Raise AccessError where the current folder is gone, or its name is no text."""
    with refusals("the current folder cannot be used: it was removed, or is closed to this user"):
        require_text(os.getcwd())


FIRST_STEPS = """\b
First steps:
  distprop init data.parquet --target y     write a config that runs, from your data
  distprop train data.yaml                  train it
  distprop ui                               look at the run"""


@click.group(cls=Commands, epilog=FIRST_STEPS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="distprop")
def main() -> None:
    """Train neural networks on CPU clusters: the same bits at any size, nothing lost."""


for command in (train, resume, list_runs, show, check, find_rate, init, import_data, evaluate, predict, sync, ui):
    main.add_command(command)
