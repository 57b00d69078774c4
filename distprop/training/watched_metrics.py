"""The metrics that choose the model or end the training: measured, comparable on this data, and ever a number."""

import math
from collections.abc import Sequence

from distprop.config import Job
from distprop.data.dataset import Dataset
from distprop.errors import ConfigError, TrainingError
from distprop.runtime.judge import Criteria, Opinion, watched_metrics
from distprop.suggest import suggest_name

NEED_TWO_CLASSES = ("roc_auc", "average_precision", "operating_sensitivity", "operating_specificity")


def require_watched(job: Job, measured: Sequence[str]) -> None:
    """Raise ConfigError unless the metrics that the job keeps or stops by are measured."""
    stopping = job.train.early_stopping
    for key, watched in (
        ("checkpoint.keep_best", job.checkpoint.keep_best),
        ("train.early_stopping.metric", stopping.metric if stopping else None),
        ("reduce_on_plateau.metric", job.optimizer.watched),
    ):
        name = watched.removeprefix("valid/") if watched else "loss"
        if name not in measured:
            raise ConfigError(
                f"`{key}` watches `{watched}`, which is not measured",
                f"this job measures {', '.join(f'valid/{one}' for one in measured)}",
                suggest_name(name, measured, "valid/"),
            )


def require_comparable(criteria: Criteria, dataset: Dataset) -> None:
    """Raise ConfigError where the job watches how classes are told apart, and its validation rows are of one class."""
    valid = dataset.splits.get("valid")
    if valid is None or sum(rows > 0 for rows in valid.labels) != 1:
        return
    for metric in watched_metrics(criteria):
        if metric.rpartition("/")[2] in NEED_TWO_CLASSES:
            raise ConfigError(
                f"`{metric}` is watched, and all rows of data.valid are of one class",
                "it says how classes are told apart, and is NaN where there is one",
                "put rows of other classes into data.valid (`stratify: true` takes the same part of each), or watch "
                "`valid/loss`",
            )


def require_measured(criteria: Criteria, history: Sequence[Opinion], folder: str) -> None:
    """Raise TrainingError where a metric that chooses the model or ends the training was NaN in every evaluation."""
    for metric in watched_metrics(criteria):
        if history and all(math.isnan(opinion.metrics.get(metric, math.nan)) for opinion in history):
            raise TrainingError(
                f"`{metric}` chooses the model or ends the training, and was NaN in all {len(history)} evaluations",
                "a metric is NaN where data.valid has no rows, or one class where it tells classes apart, or where "
                "outputs are not finite",
                f"watch another metric, such as `valid/loss`, or correct data.valid; checkpoints are in {folder}",
            )
