"""What a training's weights mean: all that a Model has beside them, as plain values for checkpoints and the model."""

from typing import Any

from distprop.numerics.fingerprint import Fingerprint
from distprop.training.assembling import Assembly


def model_parts(assembly: Assembly, fingerprint: Fingerprint) -> dict[str, Any]:
    """The arguments of Model, without its weights; version and metrics are still to be added to its metadata."""
    blueprint, dataset = assembly.blueprint, assembly.dataset
    return {
        "layers": blueprint.network.specs,
        "input_shape": list(dataset.input_shape),
        "features": dataset.features.to_json(),
        "targets": dataset.targets.to_json(),
        "loss": blueprint.loss_spec,
        "metadata": {
            "name": assembly.job.name,
            "recipe": fingerprint.recipe,
            "fingerprint": fingerprint.plain(),
            "measures": None if blueprint.metric_names is None else list(blueprint.metric_names),
            "weight": dataset.encoding.weight,
        },
    }
