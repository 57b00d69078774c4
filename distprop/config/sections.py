"""The sections of a job: small frozen models, one for each key that has keys of its own."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, field_validator, model_validator

from distprop.config.interval import Interval, IntervalField
from distprop.config.named import Target, named
from distprop.config.strict import Strict, form, problem

Texts = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
"""A list of texts, kept as a tuple."""
Paths = Annotated[Annotated[str, Tag("<text>")] | Annotated[Texts, Tag("<list>")], Discriminator(form)]
"""A file, folder, glob or `sample://` name, or several."""
EvaluationMetric = Annotated[str, Field(pattern=r"^valid/\w+$")]
WholeNumber = Annotated[PositiveInt, Tag("<number>")]
Auto = Annotated[Literal["auto"], Tag("<text>")]


class Fraction(Strict):
    """A part of the training rows, taken out by row identity: the same rows for any number of shards."""

    fraction: float = Field(gt=0, lt=1, description="part of the training rows", examples=[0.1])
    stratify: bool = Field(default=False, description="take the same part of every class", examples=[True])


Held = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Texts, Tag("<list>")] | Annotated[Fraction, Tag("<mapping>")],
    Discriminator(form),
]
Features = Annotated[
    Annotated[Literal["all"], Tag("<text>")]
    | Annotated[Texts, Tag("<list>")]
    | Annotated[dict[str, Any], Field(min_length=1), Tag("<mapping>")],
    Discriminator(form),
]
ClassName = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[int, Tag("<number>")] | Annotated[bool, Tag("<true or false>")],
    Discriminator(form),
]
Classes = Annotated[
    Auto | Annotated[tuple[ClassName, ...], Field(strict=False, min_length=2), Tag("<list>")],
    Discriminator(form),
]


class Data(Strict):
    """Which rows are trained on, and how columns become numbers."""

    train: Paths | None = Field(
        default=None,
        description="the training rows: Parquet files, folders, globs",
        examples=["data/train.parquet"],
    )
    valid: Held | None = Field(
        default=None,
        description="rows that choose (early stopping, best model): paths, or a part of the training rows",
        examples=[{"fraction": 0.1}],
    )
    test: Paths | None = Field(
        default=None,
        description="rows measured once, at the end, with the kept model: they choose nothing",
        examples=["data/test.parquet"],
    )
    features: Features = Field(
        default="all",
        description="columns to learn from: all, a list of names or globs, or a mapping to transforms",
        examples=["all", ["x*"], {"age": "standardize"}],
    )
    augment: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = Field(
        default=(),
        description="what training rows go through, in order, and no others: flip, shift, crop, noise, amplitude",
        examples=[[{"flip": "horizontal"}, {"shift": 2}]],
    )
    target: Target = Field(
        description="the column to predict; {column: standardize}: the model learns its values so (by default where "
        "the loss is about values), {column: null}: as they are",
        examples=["label", {"price": "standardize"}],
    )
    classes: Classes = Field(
        default="auto", description="the class values in the order of the outputs, or auto", examples=["auto"]
    )
    weight: str | None = Field(
        default=None, description="a column of row weights, 0 or more; null: each row counts once", examples=["weight"]
    )
    shards: PositiveInt = Field(
        default=8,
        description="fixed parts of the training rows, the most workers that can help; part of the recipe",
        examples=[8],
    )
    batch_size: PositiveInt = Field(default=128, description="rows a step, over all shards", examples=[128])
    micro_batch_size: PositiveInt | None = Field(
        default=None,
        description="rows of a shard that are worked on at a time, to need less memory; null: all it has in a step",
        examples=[16],
    )
    shuffle_rows: PositiveInt = Field(
        default=65_536, description="rows within which an epoch's order is drawn", examples=[65_536]
    )

    @property
    def target_column(self) -> str:
        """The name of the column to predict."""
        return named(self.target)[0]

    @model_validator(mode="after")
    def _rows_for_every_shard(self) -> "Data":
        if self.batch_size < self.shards:
            raise problem(
                f"`data.batch_size` is {self.batch_size}, `data.shards` is {self.shards}",
                "every shard takes part in every step with at least one row",
                f"set `data.shards` to {self.batch_size} or less, or a larger `data.batch_size`",
            )
        return self

    @model_validator(mode="after")
    def _pieces_of_a_leaf(self) -> "Data":
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise problem(
                f"`data.micro_batch_size` is {self.micro_batch_size}, `data.batch_size` is {self.batch_size}",
                "micro-batches are pieces of what one shard has of a step's rows",
                f"set `data.micro_batch_size` below {-(-self.batch_size // self.shards)}, or leave it out",
            )
        return self


class EarlyStopping(Strict):
    """End training when a metric has not become better for a while; the model that was best by it is kept."""

    metric: EvaluationMetric = Field(description="what is watched, measured on `data.valid`", examples=["valid/loss"])
    patience: PositiveInt = Field(description="evaluations without a better value", examples=[3])
    min_delta: float = Field(default=0.0, ge=0, description="how much better is better", examples=[0.0])


class Train(Strict):
    """How long to train, and when to measure."""

    epochs: PositiveFloat | None = Field(
        default=None, description="how often all rows are seen; may be a fraction", examples=[5]
    )
    steps: PositiveInt | None = Field(default=None, description="updates; instead of epochs", examples=[1000])
    evaluate_every: IntervalField | None = Field(
        default=Interval(1, "epochs"),
        description="when `data.valid` is measured; always at the end; null: only then",
        examples=["1 epoch"],
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="when to stop early", examples=[{"metric": "valid/loss", "patience": 3}]
    )
    starts: PositiveInt = Field(
        default=1,
        description="trainings from different initial weights, one after another; the best one is kept",
        examples=[4],
    )
    on_divergence: Literal["stop"] = Field(
        default="stop", description="what happens when the loss is NaN or infinite", examples=["stop"]
    )

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> "Train":
        if (self.epochs is None) == (self.steps is None):
            given = "neither `epochs` nor `steps`" if self.epochs is None else "both `epochs` and `steps`"
            raise problem(
                f"`train` has {given}",
                "exactly one of them says how long to train",
                "keep one; to exchange them: `--set train.epochs=null --set train.steps=1000`",
            )
        return self

    def last_version(self, steps_per_epoch: int) -> int:
        """The version that training ends with: how many updates it makes, at least 1."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * steps_per_epoch))


class Checkpoint(Strict):
    """When the state of the training is written down, and which states are kept."""

    every: IntervalField | None = Field(
        default=Interval(1, "epochs"),
        description="when; null: only at the end",
        examples=["500 steps", "1 epoch"],
    )
    keep_last: PositiveInt = Field(default=2, description="how many of the newest are kept", examples=[2])
    keep_best: EvaluationMetric | None = Field(
        default=None,
        description="metric of `data.valid` that chooses the model; null: that of early stopping, else the last model",
        examples=["valid/accuracy"],
    )
    dir: str | None = Field(
        default=None,
        description="a folder that all hosts share; null: beside the tracking store",
        examples=["checkpoints"],
    )


class Tracking(Strict):
    """Where the run is recorded."""

    enabled: bool = Field(default=True, description="false: no MLflow run at all", examples=[True])
    experiment: str | None = Field(
        default=None, description="the MLflow experiment; null: MLFLOW_EXPERIMENT_NAME", examples=["mnist"]
    )
    uri: str | None = Field(
        default=None,
        description="the MLflow server or store; null: MLFLOW_TRACKING_URI, else a SQLite file here",
        examples=["http://mlflow:5000"],
    )
    required: bool = Field(
        default=True,
        description="false: train also where no run can be kept now; its records wait for `distprop sync`",
        examples=[True],
    )
    run_name: str | None = Field(default=None, description="null: the job's name", examples=["first try"])
    tags: dict[str, str] = Field(default={}, description="put on the run", examples=[{"team": "vision"}])


class WorkerRange(Strict):
    """Any number of workers between two."""

    min: PositiveInt = Field(description="fewest workers to go on with", examples=[1])
    max: PositiveInt = Field(description="most workers", examples=[8])

    @model_validator(mode="after")
    def _ordered(self) -> "WorkerRange":
        if self.min > self.max:
            raise problem(
                f"`min` is {self.min}, `max` is {self.max}",
                "a range goes up",
                "exchange them, or name one number",
            )
        return self


class Cluster(Strict):
    """Where the job runs. Nothing here may change the numbers."""

    workers: Annotated[Auto | WholeNumber | Annotated[WorkerRange, Tag("<mapping>")], Discriminator(form)] = Field(
        default="auto",
        description="auto (the smaller of shards and CPUs), a number, or {min, max}",
        examples=["auto", 2],
    )
    servers: Annotated[Auto | WholeNumber, Discriminator(form)] = Field(
        default="auto", description="auto (one a machine), or a number", examples=["auto", 1]
    )
    replicas: int = Field(default=0, description="copies of every slice on another host", examples=[0])
    address: str | None = Field(
        default=None,
        description="a Ray cluster: auto or HOST:PORT; null: RAY_ADDRESS, else a local one of our own",
        examples=["auto"],
    )
    patience_seconds: float = Field(
        default=10.0,
        ge=1.0,  # processes speak twice a second
        description="silence of a process longer than this: it is presumed lost",
        examples=[10],
    )

    @field_validator("replicas")
    @classmethod
    def _no_replicas_yet(cls, replicas: int) -> int:
        if replicas != 0:
            raise problem(
                f"`cluster.replicas` is {replicas}",
                "replicas are not in this version: a lost host costs the steps since the last checkpoint",
                "set `cluster.replicas: 0`, and `checkpoint.every` to what you can afford to compute again",
            )
        return replicas


class Tls(Strict):
    """A certificate of your own, as PEM files at the same paths on all hosts."""

    certificate: str = Field(description="what every process shows", examples=["/etc/distprop/job.pem"])
    key: str = Field(description="its private key, without a passphrase", examples=["/etc/distprop/job.key"])
    authority: str | None = Field(
        default=None, description="who must have signed it; null: the certificate itself", examples=["/etc/ca.pem"]
    )


class Wire(Strict):
    """How hosts talk to each other. Nothing here may change the numbers."""

    tls: Annotated[Annotated[bool, Tag("<true or false>")] | Annotated[Tls, Tag("<mapping>")], Discriminator(form)] = (
        Field(
            default=False,
            description="encrypt connections between hosts: true (with a certificate made for the job), or PEM files",
            examples=[True, {"certificate": "/etc/distprop/job.pem", "key": "/etc/distprop/job.key"}],
        )
    )


class Diagnostics(Strict):
    """How closely layers are looked at. Changes no number of the training."""

    enabled: bool = Field(default=True, description="false: no figures of single layers, no warnings", examples=[True])
    every: IntervalField | None = Field(
        default=None,
        description="when gradients and updates of layers are measured; null: about 50 times in a job",
        examples=["100 steps", "1 epoch"],
    )


class Numerics(Strict):
    """What the arithmetic is done with; part of what fixes the numbers."""

    blas_kernel: str = Field(
        default="auto",
        description="BLAS kernel (skylakex, haswell, armv8, ...); auto: the best that all hosts share",
        examples=["auto", "haswell"],
    )


class Fault(Strict):
    """A fault to rehearse."""

    kill: Literal["worker", "server"] = Field(description="what is killed (-9)", examples=["worker"])
    index: int = Field(default=0, ge=0, description="which one, from 0", examples=[1])
    step: int = Field(ge=0, description="in which step, from 0", examples=[40])
