import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from distprop.errors import CheckpointError
from distprop.model import load_model
from tests.model.cases import images, numbers, table


@pytest.mark.parametrize("make", [images, table, numbers])
def test_what_is_saved_is_what_is_loaded(make, tmp_path):
    model = make()
    again = load_model(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.flat, model.flat)
    assert again.digest == model.digest
    assert (again.loss, again.input_shape, dict(again.metadata)) == (model.loss, model.input_shape, {})
    assert (again.features, again.targets) == (model.features, model.targets)


def test_metadata_travels_along(tmp_path):
    model = numbers()
    object.__setattr__(model, "metadata", {"version": 12, "run": "r"})
    assert load_model(model.save(tmp_path / "m")).metadata == {"version": 12, "run": "r"}


def test_the_folder_holds_named_weights_and_a_readable_description(tmp_path):
    folder = images().save(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]
    weights = load_file(folder / "weights.safetensors")
    described = json.loads((folder / "model.json").read_text())
    assert {name: list(view.shape) for name, view in weights.items()} == described["shapes"]
    assert any(name.endswith("dense.W") for name in weights)
    assert described["digest"] == images().digest


def test_saving_again_replaces_the_model(tmp_path):
    images().save(tmp_path / "model")
    numbers().save(tmp_path / "model")
    assert load_model(tmp_path / "model").digest == numbers().digest


def test_an_mlflow_folder_around_a_model_is_a_model(tmp_path):
    numbers().save(tmp_path / "outer" / "data" / "anything")
    assert load_model(tmp_path / "outer").digest == numbers().digest


def change_weights(folder):
    weights = load_file(folder / "weights.safetensors")
    weights["0.dense.W"][0] += 1e-3
    save_file(weights, folder / "weights.safetensors")


def drop_a_view(folder):
    weights = load_file(folder / "weights.safetensors")
    weights.pop("0.dense.b")
    save_file(weights, folder / "weights.safetensors")


def tear_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-2])


def of_the_future(folder):
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 99'))


DAMAGE = {
    "not the ones that were saved": change_weights,
    "not those of its layers": drop_a_view,
    "cannot be read": tear_weights,
    "has format 99": of_the_future,
    "does not describe a model": lambda folder: (folder / "model.json").write_text("{"),
    "is no saved model": lambda folder: (folder / "model.json").unlink(),
}


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_folder_is_refused_with_a_reason(text, tmp_path):
    folder = numbers().save(tmp_path / "model")
    DAMAGE[text](folder)
    with pytest.raises(CheckpointError, match=text):
        load_model(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_model(tmp_path / "nothing")
