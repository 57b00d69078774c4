"""The trained thing: predict, save, load. Needs no Ray, and MLflow only for `runs:/` and `models:/`."""

from distprop.model.loading import load_model
from distprop.model.trained import Model, save

__all__ = ["Model", "load_model", "save"]
