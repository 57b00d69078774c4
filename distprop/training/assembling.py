"""From a job to what the protocol and the runtime need of it: a blueprint, a course, the criteria."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distprop.config import Job, expand, named, with_layers
from distprop.data.dataset import Dataset, prepare
from distprop.data.survey import SurveyMap
from distprop.errors import ConfigError
from distprop.nn.leaf import require_outputs
from distprop.nn.losses import build_loss
from distprop.nn.metrics import build_metrics
from distprop.protocol.course import Course
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.judge import Criteria
from distprop.training.answering import require_few_enough_values
from distprop.training.target_units import with_target_units
from distprop.training.watched_metrics import require_comparable, require_watched
from distprop.training.weighing import with_numbers, without_classes

MOST_GATHERED = 2_000_000
"""Values of rows that an evaluation gathers at most: 16 MB for each partial sum, and for each message with one."""


LOOKS = 50
"""How often single layers are looked at in a job that does not say."""


@dataclass(frozen=True)
class Assembly:
    """A job that was checked against its data, ready to run anywhere."""

    job: Job  # its model as a list of layers
    blueprint: Blueprint
    course: Course
    criteria: Criteria

    @property
    def dataset(self) -> Dataset:
        """The data."""
        return self.blueprint.dataset


def assemble(job: Job, survey_map: SurveyMap = map) -> Assembly:
    """Open and survey the data, build the network on its shapes. Raises UserError for whatever does not fit."""
    loss = build_loss(without_classes(job.loss))
    metrics = build_metrics(job.metrics, loss.task, loss.quantiles)
    require_watched(job, ["loss", *(name for metric in metrics for name in metric.names)])
    job = with_target_units(job, loss)
    data = data_settings(job)
    dataset = prepare(data, job.seed, loss.task, declared_outputs(job.model), survey_map)
    require_few_enough_values(loss, dataset.targets)
    classes = dataset.targets.classes
    count = len(classes) if classes is not None else dataset.targets.outputs
    job = with_layers(job, dataset.input_shape, loss.outputs_for(count))
    last = job.train.last_version(dataset.train_plan.steps_per_epoch)
    blueprint = make_blueprint(job, dataset, last, with_numbers(job.loss, dataset))
    require_outputs(blueprint.network, loss, count)
    _require_room(blueprint)
    _ = blueprint.optimizer, blueprint.groups  # built here: what is wrong with them is said before anything starts
    _require_rows_alone(blueprint)
    criteria = make_criteria(job, blueprint)
    require_comparable(criteria, dataset)
    return Assembly(job, blueprint, make_course(job, blueprint), criteria)


def _require_room(blueprint: Blueprint) -> None:
    """Raise ConfigError where metrics of all rows need more of them at once than are gathered."""
    layout = blueprint.computer().layout
    _ = layout.width  # asks each metric for its room, too: one of a class that is not there refuses
    for name, split in blueprint.dataset.splits.items():
        rows = split.plan.rows if name != "train" else 0
        if rows * layout.row_width > MOST_GATHERED:
            metric = next(metric.name for metric in layout.metrics if metric.of_rows)
            raise ConfigError(
                f"metric {metric} needs the scores of all {rows:,} rows of `data.{name}` at once",
                f"they are {rows * layout.row_width:,} values; up to {MOST_GATHERED:,} are gathered",
                f"leave {metric} out of `metrics`, or make `data.{name}` smaller",
            )


def _require_rows_alone(blueprint: Blueprint) -> None:
    """Raise ConfigError where an optimizer needs all rows of a table, of which a step has the touched ones only."""
    optimizer, tables = blueprint.optimizer, blueprint.network.arena.tables
    needs = {
        "lars and lamb measure whole layers": optimizer.trust is not None,
        "`optimizer.average` averages all weights": optimizer.average is not None,
        "`optimizer.accumulate` adds up gradients of all rows": optimizer.accumulate > 1,
    }
    for why, given in needs.items():
        if tables and given:
            raise ConfigError(
                f"{tables[0].name} is sparse, and the optimizer is not",
                f"{why}, and a sparse embedding has a gradient for the rows that a step touches only",
                "take another optimizer or leave the setting out, or leave `sparse` out",
            )


def data_settings(job: Job) -> dict[str, Any]:
    """The job's `data` section with its variables expanded."""
    settings = job.data.model_dump(mode="json", exclude={"micro_batch_size"})  # which is no matter of rows
    return {key: _expanded(value) if key in ("train", "valid", "test") else value for key, value in settings.items()}


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return expand(value)
    return [expand(one) for one in value] if isinstance(value, list) else value


def declared_outputs(model: Any) -> int | None:
    """The width of a model's last dense layer, where the job says it in so many words."""
    if isinstance(model, str):
        return None
    for spec in reversed(model):
        name, settings = named(spec)
        if name == "dense":
            width = settings.get("width") if isinstance(settings, Mapping) else settings
            return width if isinstance(width, int) else None
    return None


def make_blueprint(job: Job, dataset: Dataset, last: int, loss: Any) -> Blueprint:
    """The recipe made ready. loss: as the job has it, its class weights as numbers."""
    layers: Sequence[Any] = job.model if not isinstance(job.model, str) else ()
    return Blueprint(
        layers=tuple(layers),
        loss_spec=loss,
        metric_names=job.metrics,
        optimizer_name=job.optimizer.name,
        optimizer_settings=job.optimizer.settings,
        optimizer_extras=job.optimizer.extras,
        seed=job.seed,
        last=last,
        dataset=dataset,
        micro_batch=job.data.micro_batch_size,
        watches=job.diagnostics.enabled,
        code=str(job.folder) if job.folder else None,
    )


def make_course(job: Job, blueprint: Blueprint) -> Course:
    """Which rounds the training has."""
    plan, valid = blueprint.dataset.train_plan, blueprint.dataset.valid_plan
    every, save = job.train.evaluate_every, job.checkpoint.every
    look = job.diagnostics.every.steps(plan.steps_per_epoch) if job.diagnostics.every else blueprint.last // LOOKS
    together = blueprint.optimizer.accumulate  # an update that only adds a gradient up is not worth a look
    return Course(
        steps=tuple(plan.steps(shard) for shard in range(plan.shards)),
        last=blueprint.last,
        held_out=tuple(valid.shard_rows(shard) > 0 for shard in range(valid.shards)) if valid else (),
        evaluate_every=every.steps(plan.steps_per_epoch) if every else 0,
        save_every=save.steps(plan.steps_per_epoch) if save else 0,
        diagnose_every=max(1, -(-look // together)) * together if job.diagnostics.enabled else 0,
        clips=blueprint.optimizer.exchanges,
    )


def test_course(course: Course, dataset: Dataset, version: int) -> Course:
    """One evaluation of the test rows at `version`, and nothing else."""
    plan = dataset.test_plan
    assert plan is not None, "asked for where there are test rows"
    held_out = tuple(plan.shard_rows(shard) > 0 for shard in range(plan.shards))
    return Course(course.steps, version, held_out, keeps=False, split="test")


def make_criteria(job: Job, blueprint: Blueprint) -> Criteria:
    """What the job watches; the metric that stops it keeps its best version, too, unless another one does."""
    stopping = job.train.early_stopping
    return Criteria(
        keep_best=job.checkpoint.keep_best or (stopping.metric if stopping else None),
        stop_metric=stopping.metric if stopping else None,
        patience=stopping.patience if stopping else 0,
        min_delta=stopping.min_delta if stopping else 0.0,
        plateau=blueprint.optimizer.plateau,
    )
