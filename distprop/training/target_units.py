"""Whether a job's target is standardized: where its loss is about values, unless the job says otherwise."""

from distprop.config import Job
from distprop.data.target_units import STANDARDIZE, read_target
from distprop.errors import ConfigError
from distprop.nn.losses import Loss


def with_target_units(job: Job, loss: Loss) -> Job:
    """The job with what is done to its target written out, so that its recipe has it.

    Raises ConfigError where the target is to be standardized and the loss is not about such values.
    """
    name, how = read_target(job.data.target)
    if how is not None and loss.in_units is None:
        about = "classes" if loss.task != "regression" else "counts, which are not standardized"
        raise ConfigError(
            f"`data.target` asks for {name!r} to be standardized", f"loss {loss.name} is about {about}", "leave it out"
        )
    if not isinstance(job.data.target, str) or loss.in_units is None:
        return job
    return job.model_copy(update={"data": job.data.model_copy(update={"target": {name: STANDARDIZE}})})
