"""From a job to a trained model: `train`, `resume`, `describe` and `check`."""

from distprop.training.entry import job_of, resume, train

__all__ = ["job_of", "resume", "train"]
