"""distprop: data-parallel training of neural networks on CPU clusters.

    import distprop as dp
    result = dp.train("digits.yaml", workers=2, overrides={"train.epochs": 3})
    model = dp.load_model(result.model_uri)
    model.predict(x)

Names are imported when they are first asked for: `import distprop` alone loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distprop.installation import warn_if_hiding

if TYPE_CHECKING:
    from distprop import errors, events
    from distprop.config import Job, load_job
    from distprop.errors import DistpropError, TrainingError, UserError
    from distprop.events import Stop
    from distprop.model import Model, load_model
    from distprop.report import CheckResult, Description, RateTest, Result
    from distprop.training import check, describe, find_rate, resume, train

__version__ = "0.1.0"
__all__ = [
    "CheckResult",
    "Description",
    "DistpropError",
    "Job",
    "Model",
    "RateTest",
    "Result",
    "Stop",
    "TrainingError",
    "UserError",
    "__version__",
    "check",
    "describe",
    "errors",
    "events",
    "find_rate",
    "load_job",
    "load_model",
    "resume",
    "train",
]

_MODULES = {"errors", "events"}
_HOMES = {
    "CheckResult": "report",
    "Description": "report",
    "DistpropError": "errors",
    "Job": "config",
    "Model": "model",
    "RateTest": "report",
    "Result": "report",
    "Stop": "events",
    "TrainingError": "errors",
    "UserError": "errors",
    "check": "training",
    "describe": "training",
    "find_rate": "training",
    "load_job": "config",
    "load_model": "model",
    "resume": "training",
    "train": "training",
}

warn_if_hiding()

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name from where it lives, once."""
        if name in _MODULES:
            return import_module(f"distprop.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'distprop' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"distprop.{_HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return __all__
