"""The job: what a config file describes."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, PrivateAttr, Tag, model_validator

from distprop.config.blocks import written_out
from distprop.config.file_names import unfit
from distprop.config.named import Optimizer, Spec
from distprop.config.recipe import flatten, recipe_hash, recipe_of
from distprop.config.sections import Checkpoint, Cluster, Data, Diagnostics, Fault, Numerics, Tracking, Train, Wire
from distprop.config.strict import Strict, form, problem

FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


def _file_name(name: str) -> str:
    if (why := unfit(name)) is not None:
        raise problem(f"{name!r:.80} cannot be the name", why, "use letters, figures, - and _: mnist-mlp")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
Layers = Annotated[tuple[Spec, ...], Field(strict=False, min_length=1)]


class Job(Strict):
    """A training job. Keys are those of the config file; `${VAR}` in paths and addresses stays as written."""

    name: FileName = Field(default="job", min_length=1, description="what the run is called", examples=["mnist-mlp"])
    seed: int = Field(
        default=0, ge=0, lt=2**64, description="all randomness: weights, row order, dropout", examples=[7]
    )
    data: Data
    blocks: dict[str, Layers] = Field(
        default={},
        exclude=True,  # where the job is written, the model has their layers in their places
        description="layers by name: in `model` the name stands for them, `{name: {repeat: 4}}` for 4 times",
        examples=[{"hidden": [{"dense": 64}, "relu"]}],
    )
    model: Annotated[Annotated[FunctionName, Tag("<text>")] | Annotated[Layers, Tag("<list>")], Discriminator(form)] = (
        Field(
            description="a list of layers, or package.module:function(input_shape, outputs) that returns one",
            examples=[[{"dense": 128}, "relu", {"dense": 10}], "my_nets:build"],
        )
    )
    loss: Spec = Field(description="what training makes small", examples=["softmax_cross_entropy"])
    metrics: Annotated[tuple[Spec, ...], Field(strict=False)] | None = Field(
        default=None,
        description="what else is measured; null: what suits the loss",
        examples=[["accuracy"], ["roc_auc", {"operating_point": {"sensitivity": 0.95}}]],
    )
    optimizer: Optimizer = Field(
        description="how gradients become updates",
        examples=[{"adamw": {"learning_rate": 0.001}, "clip_norm": 1.0}],
    )
    train: Train = Field(description="how long to train, and when to measure", examples=[{"epochs": 5}])
    checkpoint: Checkpoint = Checkpoint()
    tracking: Tracking = Tracking()
    cluster: Cluster = Cluster()
    wire: Wire = Wire()
    numerics: Numerics = Numerics()
    diagnostics: Diagnostics = Diagnostics()
    faults: Annotated[tuple[Fault, ...], Field(strict=False)] = Field(
        default=(), description="faults to rehearse", examples=[[{"kill": "worker", "index": 1, "step": 40}]]
    )

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """Where the config file is; a module that `model` names may be there. None without a file."""
        return self._folder

    @model_validator(mode="before")
    @classmethod
    def _with_blocks_written_out(cls, value: Any) -> Any:
        blocks = value.get("blocks") if isinstance(value, Mapping) else None
        if not isinstance(blocks, Mapping) or "model" not in value:
            return value
        return {**value, "model": written_out(value["model"], blocks)}

    @model_validator(mode="after")
    def _watched_metrics_are_measured(self) -> "Job":
        stopping = self.train.early_stopping
        watched = {"checkpoint.keep_best": self.checkpoint.keep_best}
        watched["train.early_stopping"] = stopping.metric if stopping else None
        watched["optimizer: reduce_on_plateau"] = self.optimizer.watched
        for key, metric in watched.items():
            if metric is not None and self.data.valid is None:
                raise problem(
                    f"`{key}` watches `{metric}`, and there is no validation data",
                    "`valid/...` metrics are measured on `data.valid`, which is null",
                    "set `data.valid: {fraction: 0.1}`, or paths of held-out rows",
                )
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash(self.recipe_hash())

    def plain(self) -> dict[str, Any]:
        """The whole job as dicts, lists, texts and numbers."""
        return self.model_dump(mode="json")

    def recipe(self) -> dict[str, Any]:
        """The part of the job that may change its numbers, as plain values."""
        return recipe_of(self.plain())

    def recipe_hash(self) -> str:
        """SHA-256 of the recipe; 64 hexadecimal digits."""
        return recipe_hash(self.recipe())

    def flat(self) -> dict[str, str]:
        """The recipe as MLflow parameters: "optimizer.adamw.learning_rate" -> "0.001"."""
        return flatten(self.recipe())

    def to_yaml(self) -> str:
        """The job with all defaults filled in, `${VAR}` unexpanded; loads to an equal job."""
        from ruamel.yaml import YAML

        writer = YAML(typ="safe", pure=True)
        writer.default_flow_style = False
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # typed as None in ruamel
        text = io.StringIO()
        writer.dump(self.plain(), text)
        return text.getvalue()
