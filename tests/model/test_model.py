import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from distprop.errors import DataError
from distprop.model import Model, load_model
from distprop.nn.network import build_network
from tests.model.cases import images, numbers, table


def frame(columns):
    return pytest.importorskip("pandas", reason="the base installation is without pandas").DataFrame(columns)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (9, 4, 3), dtype=np.uint8)


def as_table(pixels):
    flat = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 12)
    return pa.table({"image": flat, "label": list(range(len(pixels)))})


def test_one_array_column_may_come_in_any_dress(pixels):
    model = images()
    expected = model.predict_raw(pixels)
    assert expected.shape == (9, 3)
    for dress in (
        pixels.reshape(9, 12),
        {"image": pixels, "other": 1},
        as_table(pixels),
        frame({"image": list(pixels.reshape(9, 12))}),
    ):
        np.testing.assert_array_equal(model.predict_raw(dress), expected)


def test_raw_outputs_are_those_of_the_network_on_preprocessed_rows(pixels):
    model = images()
    network = build_network(model.layers, model.input_shape)
    scaled = (pixels / 255).astype(np.float32)
    np.testing.assert_allclose(model.predict_raw(pixels), network.predict(model.flat, scaled), rtol=1e-5)


@pytest.mark.parametrize("classes", [(3, 5, 9), ("ant", "bee", "cat")])
def test_labels_are_of_the_users_own_type(pixels, classes):
    model = images(classes)
    labels = model.predict(pixels)
    assert model.classes_.tolist() == list(classes)
    assert labels.tolist() == [classes[place] for place in model.predict_raw(pixels).argmax(axis=1)]
    assert {type(label) for label in labels.tolist()} == {type(classes[0])}


def test_probabilities_are_a_share_of_one_in_the_order_of_classes(pixels):
    model = images()
    shares = model.predict_proba(pixels)
    assert shares.shape == (9, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_[shares.argmax(axis=1)], model.predict(pixels))


def test_two_classes_by_one_output(rng):
    model = numbers()
    x = rng.normal(size=(20, 4))
    shares = model.predict_proba(x)
    np.testing.assert_array_equal(model.predict(x), (shares[:, 1] > 0.5).astype(int))
    assert shares.shape == (20, 2)
    assert 0 < model.predict(x).sum() < 20


def test_a_regression_gives_values_and_no_classes():
    model = table()
    rows = {"age": [30, 40], "smoker": ["yes", "no"], "weight": [70.5, 80.0]}
    values = model.predict(rows)
    assert values.shape == (2,)
    np.testing.assert_array_equal(values, model.predict(frame(rows)))
    np.testing.assert_array_equal(values, model.predict(pa.table(rows)))
    assert not hasattr(model, "classes_")
    with pytest.raises(DataError, match="no probabilities"):
        model.predict_proba(rows)


def test_columns_side_by_side_are_taken_in_order(rng):
    model = numbers()
    x = rng.normal(size=(5, 4))
    named = {name: x[:, place] for place, name in enumerate("abcd")}
    np.testing.assert_array_equal(model.predict_raw(x), model.predict_raw(named))


@pytest.mark.parametrize("x", [np.zeros((2, 5)), {"a": [1.0], "b": [1.0], "c": [1.0]}, np.zeros(4)])
def test_input_that_does_not_fit_is_refused(x):
    with pytest.raises(DataError):
        numbers().predict(x)


def test_no_rows_give_no_predictions():
    assert images().predict(np.zeros((0, 4, 3), np.uint8)).shape == (0,)


def test_many_rows_are_computed_in_parts(rng):
    model = numbers()
    x = rng.normal(size=(10_000, 4))
    np.testing.assert_allclose(model.predict_raw(x)[4090:4100], model.predict_raw(x[4090:4100]), rtol=1e-5, atol=1e-6)


def test_a_model_is_frozen_and_keeps_its_own_weights():
    model = images()
    with pytest.raises(ValueError, match="read-only"):
        model.flat[0] = 1
    with pytest.raises(AttributeError):
        model.loss = "other"
    mine = np.array(model.flat)
    copy = Model(model.layers, model.input_shape, mine, model.features, model.targets, model.loss)
    mine[:] = 0
    assert copy.digest == model.digest


def test_a_model_pickles_for_a_users_own_cluster(pixels):
    model = images()
    model.predict(pixels)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_raw(pixels), model.predict_raw(pixels))


def test_a_folder_loads_and_predicts_without_ray_or_mlflow(tmp_path):
    folder = numbers().save(tmp_path / "model")
    code = (
        "import sys, numpy as np, distprop.model as m\n"
        f"print(m.load_model({str(folder)!r}).predict(np.ones((3, 4))).tolist())\n"
        "assert not {'ray', 'mlflow', 'pandas', 'matplotlib'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(load_model(folder).predict(np.ones((3, 4))).tolist())
