"""Whether a loss can answer what the target asks."""

from distprop.data.targets import Targets
from distprop.errors import ConfigError
from distprop.nn.losses import Loss


def require_few_enough_values(loss: Loss, targets: Targets) -> None:
    """Raise ConfigError for a target of several values where the loss is about one, however many outputs it has."""
    values = targets.outputs
    if targets.task != "regression" or values == 1 or loss.outputs_for(values) != loss.outputs_for(1):
        return
    raise ConfigError(
        f"loss {loss.name} cannot learn the target {targets.column.name!r}, which has {values} values a row",
        f"all outputs of {loss.name} are about one value",
        "train one model for each value, each as a column of its own, or use a loss such as `mean_squared_error`",
    )
