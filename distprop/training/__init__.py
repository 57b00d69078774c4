"""From a job to a trained model: `train`, `resume`, `describe`, `check` and `find_rate`."""

from distprop.training.checking import check
from distprop.training.describing import describe
from distprop.training.entry import job_of, resume, train
from distprop.training.rate_finding import find_rate

__all__ = ["check", "describe", "find_rate", "job_of", "resume", "train"]
