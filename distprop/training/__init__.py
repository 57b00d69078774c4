"""From a job to a trained model: `train`, `resume`, `describe` and `check`."""

from distprop.training.checking import check
from distprop.training.describing import describe
from distprop.training.entry import job_of, resume, train

__all__ = ["check", "describe", "job_of", "resume", "train"]
