"""What a tracking server can be asked to do, and MLflow doing it. Every call may come twice and counts once."""

import getpass
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

from distprop.errors import DistpropError, UserError
from distprop.tracking.address import make_client, settle_environment, without_secrets
from distprop.tracking.database import deleted_experiment
from distprop.tracking.layers import KINDS, draw_layers
from distprop.tracking.measured import time_in_run
from distprop.tracking.naming import cut, model_name
from distprop.tracking.pictures import CURVES_FILE, LAYERS_FILE, draw_counts, draw_curves
from distprop.tracking.spool import HANDLE, SpoolJob

TOKEN_TAG = "distprop.token"  # noqa: S105 - names a run before it has an id; opens nothing
JOB_TAG = "distprop.job"
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""Which of MLflow's pages suit the experiment; without it they guess from its runs, or ask."""

POINTS_A_REQUEST = 1000
CONTEXTS = {"train": "training", "valid": "validation", "test": "testing"}
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")
MOST_SCHEMA = 1_000_000

_CONNECTING = Lock()  # the first call makes a new store's tables: two at once would be in each other's way

_log = logging.getLogger("distprop")


class Refused(DistpropError):  # noqa: N818 - an answer, not a failure of the line
    """The server is there and says no: sending the same again would change nothing."""


class Gone(DistpropError):  # noqa: N818 - an answer about the run, not about what was sent
    """The run, or its experiment, was deleted: records wait until it is restored."""


class NotYet(DistpropError):  # noqa: N818 - a matter of moments
    """The server is there; what has to come first is on its way."""


class Point(NamedTuple):
    """One value of a metric; time in milliseconds since the epoch."""

    metric: str
    value: float
    time: int
    step: int


class Run(NamedTuple):
    """The run that is written to; `existed` when an earlier process began it."""

    run_id: str
    existed: bool


class Store(Protocol):
    """A tracking server. Raises Refused where trying again is useless, anything else where it may help."""

    def connect(self, job: SpoolJob, run_id: str | None) -> Run:
        """Find the run or begin it, marked as running."""

    def log(self, run_id: str, metrics: Sequence[Point], tags: Mapping[str, str]) -> None:
        """Add points and set tags; a point that is there already is not added again."""

    def params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Set parameters; those that the run has stay, and another value becomes a tag."""

    def inputs(self, run_id: str, datasets: Iterable[Mapping[str, Any]]) -> None:
        """Name the data that was used."""

    def text(self, run_id: str, name: str, text: str) -> None:
        """Keep a text as an artifact."""

    def picture(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Draw and keep a picture."""

    def model(self, run_id: str, folder: str, version: int, digest: str) -> str:
        """Keep the model in `folder`; returns its address."""

    def link(self, run_id: str, model_uri: str | None, metrics: Sequence[Point]) -> None:
        """Say that these points measure that model."""

    def end(self, run_id: str, status: str, time: int) -> None:
        """Set the final status."""

    def last_step(self, run_id: str, metric: str) -> int:
        """The last step at which the run has this metric; -1 where it has none."""


class MlflowStore:
    """MLflow, through its client; its import and a new store's migrations happen at the first call."""

    def __init__(self, uri: str) -> None:
        settle_environment()
        self.uri = uri

    @cached_property
    def client(self) -> Any:
        """The MLflow client."""
        return make_client(self.uri)

    def connect(self, job: SpoolJob, run_id: str | None) -> Run:
        """Find the run by id, else by token, else create it."""
        with _CONNECTING, _answers():
            experiment = self._experiment(job.experiment)
            known = self._known_run(run_id) or self._run_with_token(experiment, job.token)
            if known is not None:
                self.client.update_run(known, status="RUNNING")
                return Run(known, existed=True)
            return Run(self._create(experiment, job), existed=False)

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            found = self._new_experiment(name)
        if found.lifecycle_stage == "deleted":
            gone = deleted_experiment(name, found.experiment_id)
            raise Gone(*gone.args)
        if KIND_TAG not in found.tags:  # one that a person chose stays
            self.client.set_experiment_tag(found.experiment_id, KIND_TAG, KIND)
        return str(found.experiment_id)

    def _new_experiment(self, name: str) -> Any:
        """Another job may make it at the same moment: then it is that one."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_experiment(name, tags={KIND_TAG: KIND})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self.client.get_experiment_by_name(name)

    def _known_run(self, run_id: str | None) -> str | None:
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return None
        try:
            found = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            _log.warning("run %s is not in %s: a new run is begun", run_id, without_secrets(self.uri))
            return None
        _require_alive(found)
        return run_id

    @contextmanager
    def _asking(self, run_id: str) -> Iterator[None]:
        """As `_answers`; where the run was deleted, that is why, and not what was sent. Raises Refused, Gone."""
        try:
            with _answers():
                yield
        except Refused as refusal:
            self._ask_why(run_id, refusal)
            raise

    def _ask_why(self, run_id: str, refusal: Refused) -> None:
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            fix = "`distprop sync` writes what waits to a new run"
            raise Gone(f"run {run_id} was deleted for good", "MLflow no longer knows it", fix) from refusal
        _require_alive(found)

    def _run_with_token(self, experiment: str, token: str) -> str | None:
        from mlflow.entities import ViewType

        found = self.client.search_runs([experiment], f"tags.`{TOKEN_TAG}` = '{token}'", ViewType.ALL, max_results=1)
        for run in found:
            _require_alive(run)
        return str(found[0].info.run_id) if found else None

    def _create(self, experiment: str, job: SpoolJob) -> str:
        named = {
            TOKEN_TAG: job.token,
            "mlflow.user": _user(),
            "mlflow.source.type": "JOB",
            "mlflow.source.name": "distprop",
        }
        if job.parent is not None:
            named["mlflow.parentRunId"] = self._parent(experiment, job.parent)
        run = self.client.create_run(experiment, start_time=job.started, run_name=job.run_name, tags=named)
        return str(run.info.run_id)

    def _parent(self, experiment: str, handle: str) -> str:
        """The id of the run that a new one is shown in; it may be a moment late, or wait in a spool of its own."""
        if not handle.startswith(HANDLE):
            return handle
        found = self._run_with_token(experiment, handle.removeprefix(HANDLE))
        if found is None:
            raise NotYet("the run that this one is shown in is not there yet", "", "`distprop sync` that run first")
        return found

    def log(self, run_id: str, metrics: Sequence[Point], tags: Mapping[str, str]) -> None:
        """One request for each thousand points; points are told apart by metric, time, step and value."""
        from mlflow.entities import RunTag

        with self._asking(run_id):
            tags_left = [RunTag(name, value) for name, value in tags.items()]
            for start in range(0, max(1, len(metrics)), POINTS_A_REQUEST):
                sent = [_metric(point) for point in metrics[start : start + POINTS_A_REQUEST]]
                if sent or tags_left:
                    self.client.log_batch(run_id, metrics=sent, tags=tags_left)
                tags_left = []

    def params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Parameters are immutable in MLflow: what differs after a resume is a tag."""
        from mlflow.entities import Param, RunTag

        with self._asking(run_id):
            there = self.client.get_run(run_id).data.params
            new = [Param(name, value) for name, value in params.items() if name not in there]
            other = {name: value for name, value in params.items() if there.get(name, value) != value}
            tags = [RunTag(f"distprop.resumed_with.{name}", cut(value, 5000)) for name, value in other.items()]
            if new or tags:
                self.client.log_batch(run_id, params=new, tags=tags)

    def inputs(self, run_id: str, datasets: Iterable[Mapping[str, Any]]) -> None:
        """Dataset inputs with digest, schema and number of rows."""
        with self._asking(run_id):
            named: dict[tuple[str, str], Any] = {}
            for used in datasets:
                key = (used["name"], used["digest"])
                name = used["name"] if key not in named else f"{used['name']} ({used['split']})"
                named[(name, used["digest"])] = _dataset_input(name, used)
            self.client.log_inputs(run_id, datasets=list(named.values()))

    def text(self, run_id: str, name: str, text: str) -> None:
        """Written anew each time: same name, same text."""
        with self._asking(run_id):
            self.client.log_text(run_id, text, name)

    def picture(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Drawn from the record, or from the run's own history where it is about curves."""
        with self._asking(run_id), _makes_sense(), tempfile.TemporaryDirectory() as folder:
            if record["picture"] == "curves":
                drawn = draw_curves(self._history(run_id, ("train/", "valid/")), Path(folder) / CURVES_FILE)
            elif record["picture"] == "layers":
                drawn = draw_layers(self._history(run_id, KINDS), Path(folder) / LAYERS_FILE)
            else:
                drawn = draw_counts(record, Path(folder))
            if drawn is not None:
                self.client.log_artifact(run_id, str(drawn))

    def _history(self, run_id: str, of: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
        """The metrics whose names start so."""
        names = [name for name in self.client.get_run(run_id).data.metrics if name.startswith(of)]
        history = {name: self.client.get_metric_history(run_id, name) for name in sorted(names)}
        return {name: sorted((point.step, point.value) for point in found) for name, found in history.items()}

    def model(self, run_id: str, folder: str, version: int, digest: str) -> str:
        """A LoggedModel, an output of the run; one that an interrupted try left is finished, not doubled."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.entities.logged_model_status import LoggedModelStatus

        from distprop import flavor

        with self._asking(run_id), _makes_sense():
            model = self._begun_model(run_id, version, digest)
            if model.status != LoggedModelStatus.READY:
                with tempfile.TemporaryDirectory() as place:
                    saved = flavor.save_model(folder, Path(place) / "model", run_id=run_id, model_id=model.model_id)
                    self.client.log_model_artifacts(model.model_id, str(saved))
                self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=version)])
                self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            return f"models:/{model.model_id}"

    def _begun_model(self, run_id: str, version: int, digest: str) -> Any:
        run = self.client.get_run(run_id)
        experiment = run.info.experiment_id
        wanted = {"distprop.step": str(version), "distprop.digest": digest}
        found = self.client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
        for model in found:
            if wanted.items() <= model.tags.items():
                return model
        return self.client.create_logged_model(
            experiment,
            name=model_name(run.data.tags.get(JOB_TAG, "")),
            source_run_id=run_id,
            tags=wanted,
            params=run.data.params,
            model_type="distprop",
        )

    def link(self, run_id: str, model_uri: str | None, metrics: Sequence[Point]) -> None:
        """The same points again, naming model and data: MLflow adds them to the model and not to the run."""
        model_id = model_uri.removeprefix("models:/") if model_uri else None
        with self._asking(run_id):
            if metrics:
                data = _data_of(self.client.get_run(run_id))
                placed = [point._replace(time=time_in_run(self.client, run_id, *point)) for point in metrics]
                points = [_metric(point, model_id, data.get(point.metric.partition("/")[0])) for point in placed]
                self.client.log_batch(run_id, metrics=points)

    def end(self, run_id: str, status: str, time: int) -> None:
        """Final until the run is resumed."""
        with self._asking(run_id):
            self.client.set_terminated(run_id, status, end_time=time)

    def last_step(self, run_id: str, metric: str) -> int:
        """Asked once for each kind of record after a resume."""
        with self._asking(run_id):
            if metric not in self.client.get_run(run_id).data.metrics:
                return -1
            return max((int(point.step) for point in self.client.get_metric_history(run_id, metric)), default=-1)


def _require_alive(run: Any) -> None:
    """Raise Gone where the run was deleted, by itself or with its experiment."""
    if run.info.lifecycle_stage == "deleted":
        run_id, experiment = run.info.run_id, run.info.experiment_id
        raise Gone(
            f"run {run_id} was deleted",
            "MLflow takes nothing for it until it is restored",
            f"`mlflow runs restore --run-id {run_id}` (or `mlflow experiments restore --experiment-id {experiment}`), "
            f"then `distprop sync {run_id}`",
        )


@contextmanager
def _answers() -> Iterator[None]:
    """Tell the server's refusals, which trying again cannot change, from everything else, which may pass."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in REFUSALS:
            raise
        raise Refused("the tracking server refused what it was sent", cut(without_secrets(str(error)), 500)) from error


@contextmanager
def _makes_sense() -> Iterator[None]:
    """What we cannot make of a record now, such as a picture or a model, we cannot make later either."""
    try:
        yield
    except (TypeError, ValueError, KeyError, ImportError, FileNotFoundError, UserError) as error:
        raise Refused(
            "this record cannot be made into what it stands for", cut(without_secrets(str(error)), 500)
        ) from error


def _metric(point: Point, model_id: str | None = None, data: Any = None) -> Any:
    """MLflow's metric; data: the Dataset that it was measured on."""
    from mlflow.entities import Metric

    named = {"dataset_name": data.name, "dataset_digest": data.digest} if data is not None else {}
    return Metric(point.metric, point.value, point.time, point.step, model_id=model_id, **named)


def _data_of(run: Any) -> dict[str, Any]:
    """The data of each split of the run: train, valid, test."""
    splits = {context: split for split, context in CONTEXTS.items()}
    found = {}
    for used in run.inputs.dataset_inputs if run.inputs else ():
        for tag in used.tags:
            if tag.key == "mlflow.data.context" and tag.value in splits:
                found[splits[tag.value]] = used.dataset
    return found


def _dataset_input(name: str, used: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    schema = json.dumps({"mlflow_colspec": [{"name": c, "type": t} for c, t in used["columns"].items()]})
    dataset = Dataset(
        name=cut(name, 500),
        digest=used["digest"],
        source_type="local",
        source=json.dumps({"uri": used["source"]}),
        schema=schema if len(schema) <= MOST_SCHEMA else None,
        profile=json.dumps({"num_rows": used["rows"]}),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", CONTEXTS[used["split"]])])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
