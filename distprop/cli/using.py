"""`distprop evaluate` and `distprop predict`: a trained model on data."""

from pathlib import Path

import click

from distprop.cli import kernel
from distprop.cli.options import debug_option, json_option, trust_option, uri_option
from distprop.cli.output import print_json, remark, result

model_argument = click.argument("model")
data_argument = click.argument("data")


@click.command(short_help="Measure a MODEL on DATA.")
@model_argument
@data_argument
@uri_option
@trust_option
@json_option
@debug_option
def evaluate(model: str, data: str, uri: str | None, trust: tuple[str, ...], as_json: bool) -> None:
    """Measure a MODEL on DATA that has the target, too.

    MODEL is a folder, models:/m-..., models:/name@alias or runs:/RUN_ID/model; DATA are Parquet files.
    """
    kernel.ready("auto")
    from distprop.cli.scoring import measure
    from distprop.model import load_model
    from distprop.report import finite

    metrics = measure(load_model(model, uri, trust=trust), data)
    if as_json:
        print_json({name: finite(value) for name, value in metrics.items()})
        return
    for name, value in metrics.items():
        result(f"{name} {value:,}" if name == "rows" else f"{name} {value:.6g}")


@click.command(short_help="Predict DATA with a MODEL into a Parquet file.")
@model_argument
@data_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The Parquet file to write.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy a column of DATA; may be given often.")
@click.option("--proba", is_flag=True, help="Also write the probability of each class.")
@click.option(
    "--on-bad-rows",
    type=click.Choice(["error", "null"]),
    default="error",
    show_default=True,
    help="A row with a value that is missing, infinite, too large or unknown: stop, or write null for it.",
)
@uri_option
@trust_option
@debug_option
def predict(
    model: str,
    data: str,
    out: Path,
    keep: tuple[str, ...],
    proba: bool,
    on_bad_rows: str,
    uri: str | None,
    trust: tuple[str, ...],
) -> None:
    """Predict DATA with a MODEL into a Parquet file, rows in the order of DATA.

    MODEL is a folder, models:/m-..., models:/name@alias or runs:/RUN_ID/model; DATA are Parquet files.
    """
    kernel.ready("auto")
    from distprop.cli.prediction_file import PredictionFile
    from distprop.model import load_model

    wanted = PredictionFile(load_model(model, uri, trust=trust), keep, proba, on_bad_rows == "null")
    written = wanted.write(data, out, model)
    nulls = f", {written.null:,} of them null" if written.null else ""
    result(f"{written.rows:,} predictions in {out}{nulls}", kept=True)
    if written.first is not None:
        remark(f"the first null: {written.first.what} ({written.first.why})")
