"""Small models of each kind, made without training."""

from typing import Any

import numpy as np

from distprop.data.columns import Column
from distprop.data.features import Feature, Features
from distprop.data.targets import Targets
from distprop.data.transforms import Transform
from distprop.model import Model
from distprop.nn.network import build_network

LABEL = Column("label", "number", "int64")


def make(layers: list[Any], features: Features, targets: Targets, loss: str, **metadata: Any) -> Model:
    network = build_network(layers, features.input_shape)
    flat = np.empty(network.arena.size, np.float32)
    network.init(7, flat)
    return Model(layers, features.input_shape, flat, features.to_json(), targets.to_json(), loss, metadata)


def images(classes: tuple[Any, ...] = (0, 1, 2)) -> Model:
    scale = Transform("scale", {"factor": 1 / 255})
    pixels = Features((Feature(Column("image", "list", "uint8", (4, 3)), (scale,)),))
    kind = LABEL if isinstance(classes[0], int) else Column("label", "text", "text")
    targets = Targets(kind, "classification", classes)
    return make([{"dense": 8}, "relu", {"dropout": 0.5}, {"dense": 3}], pixels, targets, "softmax_cross_entropy")


def table() -> Model:
    words = Transform("one_hot", {"values": ["no", "yes"]})
    columns = (
        Feature(Column("age", "number", "int64")),
        Feature(Column("smoker", "text", "text"), (words,)),
        Feature(Column("weight", "number", "float32")),
    )
    targets = Targets(Column("cost", "number", "float64"), "regression")
    return make([{"dense": 5}, "tanh", {"dense": 1}], Features(columns), targets, "mean_squared_error")


def numbers() -> Model:
    columns = tuple(Feature(Column(name, "number", "float64")) for name in "abcd")
    targets = Targets(LABEL, "binary", (0, 1))
    return make([{"dense": 1}], Features(columns), targets, "binary_cross_entropy")
