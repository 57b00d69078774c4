"""What was seen in single layers, in the run: points, one picture, warnings as tags and a text."""

import math

import pytest

from distprop.events import Diagnosed, RunEnded, Warned
from distprop.tracking.layers import _of_kind, draw_layers
from distprop.tracking.records import Recorder
from tests.tracking.events import NOON
from tests.tracking.test_pictures import is_picture


@pytest.mark.parametrize("layers", [3, 40])
def test_few_layers_are_lines_and_many_a_map(tmp_path, layers):
    history = {
        f"{kind}/{layer}.dense": [(1, 10.0**-layer), (2, math.nan), (3, 0.0)]
        for kind in ("z-layers/gradient_norm", "z-layers/update_ratio", "z-layers/dead")
        for layer in range(layers)
    }
    assert is_picture(draw_layers(history, tmp_path / "layers.png"))


def test_layers_of_which_nothing_is_known_are_not_drawn(tmp_path):
    assert draw_layers({}, tmp_path / "layers.png") is None
    assert draw_layers({"z-layers/dead/1.relu": [(1, math.nan)]}, tmp_path / "layers.png") is None


def test_layers_are_in_the_order_of_the_network():
    names = ["2.dense", "10.dense", "0.conv2d", "2.residual.11.dense", "2.residual.3.dense"]
    history = {f"dead/{name}": [(1, 0.5)] for name in names}
    found = list(_of_kind(history, "dead/"))
    assert found == ["0.conv2d", "2.dense", "2.residual.3.dense", "2.residual.11.dense", "10.dense"]


def test_figures_are_points_and_end_in_a_picture():
    recorder = Recorder()
    (made,) = recorder.records(Diagnosed(NOON, 7, {"gradient_norm/0.dense": 0.5, "noise_scale": 80.0}))
    assert made["metrics"] == {"z-layers/gradient_norm/0.dense": 0.5, "noise_scale": 80.0}
    assert (made["step"], made["once"]) == (7, "z-layers/gradient_norm/0.dense")
    ended = RunEnded(NOON, "finished", 8, {}, None)
    assert {"kind": "picture", "picture": "layers"} in recorder.records(ended)
    assert {"kind": "picture", "picture": "layers"} not in Recorder().records(ended)


def test_warnings_are_tags_and_one_text():
    recorder = Recorder()
    for layer in ("0.dense", "2.dense"):
        tag, text = recorder.records(Warned(NOON, 7, "vanishing", layer, f"layer {layer} does not learn", "try relu"))
    assert tag["tags"] == {"distprop.warning.vanishing": "layer 2.dense does not learn"}
    assert text["name"] == "warnings.txt"
    assert text["text"].count("try relu") == 2
