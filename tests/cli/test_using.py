"""`evaluate` and `predict`: a saved model over Parquet files."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distprop.cli.scoring import ROWS_AT_ONCE
from distprop.data.dataset import prepare
from distprop.model import Model, load_model
from distprop.nn.network import build_network

ROWS = ROWS_AT_ONCE + 100
WAYS = {"kind": "softmax_cross_entropy", "yes": "binary_cross_entropy", "value": "mean_squared_error"}


def rows(count=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, count)
    x = kind + 0.3 * rng.normal(size=count)
    return pa.table(
        {
            "x": x,
            "z": rng.normal(size=count),
            "kind": np.array(["a", "b", "c"])[kind],
            "yes": kind % 2,
            "value": (2 * x).astype(np.float32),
        }
    )


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(rows(), "data.parquet", row_group_size=ROWS - 7)
    return "data.parquet"


@pytest.fixture
def save(data):
    """A function: saves a model of untrained weights for a target, and returns it as it loads."""

    def make(target, loss=None, outputs=1):
        task = {"kind": "classification", "yes": "binary", "value": "regression"}[target]
        dataset = prepare({"train": data, "features": ["x", "z"], "target": target, "shards": 1}, seed=0, task=task)
        layers = [{"dense": 4}, "tanh", {"dense": 3 if target == "kind" else outputs}]
        network = build_network(layers, dataset.input_shape)
        flat = np.empty(network.arena.size, np.float32)
        network.init(1, flat)
        made = (dataset.features.to_json(), dataset.targets.to_json(), loss or WAYS[target])
        Model(layers, dataset.input_shape, flat, *made).save("model")
        return load_model("model")

    return make


@pytest.mark.parametrize("target", ["kind", "yes"])
def test_evaluate_measures_what_predict_gives(run, data, save, target):
    model = save(target)
    table = pq.read_table(data)
    right = np.mean(model.predict(table) == table[target].to_numpy(zero_copy_only=False))
    shares = model.predict_proba(table)
    of_truth = shares[np.arange(ROWS), np.searchsorted(model.classes_, table[target].to_numpy(zero_copy_only=False))]
    done = run("evaluate", "model", data, "--json")
    assert done.exit_code == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["rows"] == ROWS
    assert measured["accuracy"] == pytest.approx(right)
    assert measured["loss"] == pytest.approx(-np.mean(np.log(of_truth, dtype=np.float64)), rel=1e-5)


def test_evaluate_of_a_regression_prints_its_errors(run, data, save):
    model = save("value")
    table = pq.read_table(data)
    mean_square = np.mean((model.predict(table) - table["value"].to_numpy()) ** 2, dtype=np.float64)
    lines = dict(line.split(" ") for line in run("evaluate", "model", data).stdout.splitlines())
    assert float(lines["loss"]) == pytest.approx(mean_square, rel=1e-4)
    assert float(lines["rmse"]) == pytest.approx(mean_square**0.5, rel=1e-4)
    assert lines["rows"] == f"{ROWS:,}"


def test_predict_writes_labels_probabilities_and_kept_columns_in_order(run, data, save):
    model = save("kind")
    done = run("predict", "model", data, "--out", "made/out.parquet", "--proba", "--keep", "value")
    assert done.exit_code == 0, done.stderr
    table, out = pq.read_table(data), pq.read_table("made/out.parquet")
    assert out.column_names == ["value", "prediction", "probability_a", "probability_b", "probability_c"]
    assert out["value"].equals(table["value"])
    assert out["prediction"].to_pylist() == model.predict(table).tolist()
    np.testing.assert_allclose(out["probability_b"].to_numpy(), model.predict_proba(table)[:, 1], rtol=1e-5)


def test_predict_writes_a_column_for_each_quantile(run, data, save):
    model = save("value", {"pinball": {"quantiles": [0.025, 0.5]}}, outputs=2)
    assert model.quantiles == (0.025, 0.5)
    assert run("predict", "model", data, "--out", "out.parquet").exit_code == 0
    out = pq.read_table("out.parquet")
    assert out.column_names == ["prediction_2_5", "prediction_50"]
    written = np.stack([out[name] for name in out.column_names], axis=1)
    np.testing.assert_array_equal(written, model.predict(pq.read_table(data)))


def test_predict_needs_no_target(run, data, save, tmp_path):
    model = save("value")
    pq.write_table(pq.read_table(data).select(["z", "x"]), tmp_path / "bare.parquet")
    assert run("predict", "model", "bare.parquet", "--out", "out.parquet").exit_code == 0
    out = pq.read_table("out.parquet")
    np.testing.assert_allclose(out["prediction"].to_numpy(), model.predict(pq.read_table(data)), rtol=1e-5)


def test_predict_says_what_to_do_where_the_data_lacks_a_column_of_the_model(run, save):
    """The model's columns are fixed: the names that the data has instead are no advice."""
    save("yes")
    pq.write_table(rows(5).drop_columns(["z"]), "lacks.parquet")
    done = run("predict", "model", "lacks.parquet", "--out", "out.parquet")
    assert done.exit_code == 2
    assert "add 'z' to the data, or train a model without it" in done.stderr
    assert "use one of" not in done.stderr


def changed(column, row, value):
    table = rows(20)
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(column), column, pa.array(values, table.schema.field(column).type))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (lambda: rows(20).drop_columns(["x"]), "no column 'x'"),
        (lambda: rows(20).drop_columns(["kind"]), "no column 'kind'"),
        (lambda: rows(20).set_column(0, "x", pa.array(["text"] * 20)), "column 'x' of bad.parquet is string"),
        (lambda: changed("kind", 7, "d"), "a label that is no class of the model in row 7 of row group 0 of"),
        (lambda: changed("x", 5, float("nan")), "column 'x' has nan in row 5 of row group 0 of"),
        (lambda: changed("x", 5, None), "column 'x' has a null in row 5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_evaluate_names_what_is_wrong_with_the_data(run, save, table, said):
    save("kind")
    pq.write_table(table(), "bad.parquet")
    done = run("evaluate", "model", "bad.parquet")
    assert done.exit_code == 2
    assert said in done.stderr
    assert "  fix: " in done.stderr


def test_evaluate_names_a_regression_target_that_is_not_finite(run, save):
    save("value")
    pq.write_table(changed("value", 3, float("inf")), "bad.parquet")
    assert "a target that is not finite in row 3" in run("evaluate", "model", "bad.parquet").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model", "gone.parquet"), "gone.parquet"),
        (("nowhere", "data.parquet"), "nowhere is no saved model"),
        (("model", "data.parquet", "--keep", "vlaue"), "did you mean `value`?"),
        (("model", "${NOT_SET}/x"), "NOT_SET is not set"),
    ],
    ids=str,
)
def test_predict_from_what_is_not_there_writes_nothing(run, save, tmp_path, words, said, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    save("kind")
    done = run("predict", *words, "--out", "out.parquet")
    assert done.exit_code == 2
    assert said in done.stderr
    assert not list(tmp_path.glob("*out*"))


def test_probabilities_of_a_regression_are_refused_and_nothing_is_left(run, data, save, tmp_path):
    save("value")
    assert run("predict", "model", data, "--out", "out.parquet", "--proba").exit_code == 2
    assert not list(tmp_path.glob("*out*"))


def linked(folder, kind):
    """The input under another name."""
    other = folder / "other.parquet"
    os.symlink(folder / "data.parquet", other) if kind == "symlink" else os.link(folder / "data.parquet", other)
    return "other.parquet"


OVER_THE_INPUT = {
    "itself": lambda _: ("data.parquet", "data.parquet"),
    "another spelling": lambda folder: ("data.parquet", f"../{folder.name}/./data.parquet"),
    "a symbolic link": lambda folder: ("data.parquet", linked(folder, "symlink")),
    "a hard link": lambda folder: ("data.parquet", linked(folder, "hard")),
    "a link is the input": lambda folder: (linked(folder, "symlink"), "data.parquet"),
    "a file of the input folder": lambda _: (".", "data.parquet"),
    "a new file of the input folder": lambda _: (".", "new.parquet"),
    "a new file that the glob matches": lambda _: ("*.parquet", "new.parquet"),
    "a linked folder": lambda folder: (str(folder / "data.parquet"), _linked_folder(folder)),
    "a file address": lambda folder: (f"file://{folder}/data.parquet", "data.parquet"),
}


def _linked_folder(folder):
    os.symlink(folder, folder / "beside")
    return "beside/data.parquet"


@pytest.mark.parametrize("names", OVER_THE_INPUT.values(), ids=OVER_THE_INPUT)
def test_predict_never_writes_over_what_it_reads(run, save, tmp_path, names):
    save("kind")
    where, out = names(tmp_path)
    before = (tmp_path / "data.parquet").read_bytes()
    done = run("predict", "model", where, "--out", out)
    assert done.exit_code == 2, done.output
    assert "is read" in done.stderr or "is also the input" in done.stderr
    assert (tmp_path / "data.parquet").read_bytes() == before
    assert not (tmp_path / "new.parquet").exists()


@pytest.mark.parametrize("where", ["data.parquet", ".", "data*.parquet"])
def test_predict_writes_beside_its_input(run, save, where):
    save("kind")
    out = "elsewhere/out.parquet" if where == "data.parquet" else "../out-of-predict.parquet"
    assert run("predict", "model", where, "--out", out).exit_code == 0
    assert pq.read_metadata(out).num_rows == ROWS


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (".", "is a folder"),
        ("model/weights.safetensors", "which is read"),
        ("data.parquet/out.parquet", "is no folder"),
        ("pipe", "no plain file"),
    ],
)
def test_predict_refuses_what_is_no_new_file(run, data, save, out, said):
    model = save("kind")
    os.mkfifo("pipe")
    done = run("predict", "model", data, "--out", out)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert load_model("model").digest == model.digest


def test_init_never_writes_over_the_data_that_it_looks_at(run, data):
    before = pq.read_table(data)
    done = run("init", data, "--target", "kind", "--out", data, "--force")
    assert done.exit_code == 2, done.output
    assert pq.read_table(data).equals(before)
