"""The job: strict YAML, frozen models, overrides, and the recipe that fixes the numbers."""

from distprop.config.expanding import expand
from distprop.config.interval import Interval
from distprop.config.job import Job
from distprop.config.loading import load_job, parse_job
from distprop.config.named import Optimizer, named
from distprop.config.python_model import with_layers
from distprop.config.sections import (
    Checkpoint,
    Cluster,
    Data,
    EarlyStopping,
    Fault,
    Fraction,
    Numerics,
    Tracking,
    Train,
    WorkerRange,
)

__all__ = [
    "Checkpoint",
    "Cluster",
    "Data",
    "EarlyStopping",
    "Fault",
    "Fraction",
    "Interval",
    "Job",
    "Numerics",
    "Optimizer",
    "Tracking",
    "Train",
    "WorkerRange",
    "expand",
    "load_job",
    "named",
    "parse_job",
    "with_layers",
]
