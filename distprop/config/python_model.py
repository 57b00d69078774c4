"""A model given as Python: `package.module:function`, which returns a list of layers."""

from distprop.config.job import Job
from distprop.config.loading import load_job
from distprop.errors import ConfigError
from distprop.importing import find_function, importable


def with_layers(job: Job, input_shape: tuple[int, ...], outputs: int) -> Job:
    """The job with its model as a list of layers: itself, unless `model` names a function.

    The function is called as function(input_shape, outputs), with the shape of one row. Its module is found
    as usual, or beside the config file. The layers, not the function's name, are then in the recipe.
    """
    if not isinstance(job.model, str):
        return job
    with importable(job.folder):
        layers = find_function("model", job.model, "(input_shape, outputs) -> list of layers")(input_shape, outputs)
    if not isinstance(layers, list | tuple):
        raise ConfigError(
            f"`model: {job.model}` returned a {type(layers).__name__}",
            "the function returns a list of layers as they are written in a config",
            'return for example [{"dense": 128}, "relu", {"dense": outputs}]',
        )
    return load_job(job, {"model": list(layers)}, in_memory=True)
