"""Loading a model runs no code but that of modules which the one who loads it trusts, and takes no more than it has."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from distprop import flavor
from distprop.cli import main
from distprop.errors import CheckpointError, ConfigError, TrustError, UserError
from distprop.model import load_model
from distprop.model.stored import load_outline
from tests.model.cases import images, numbers, table

MODULE = "layers_of_a_loader"
SOURCE = """
from pathlib import Path
from subprocess import run
from distprop.nn.activations import tanh as made_elsewhere
Path(__file__).with_suffix(".imported").touch()

def own(settings=None):
    return made_elsewhere()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with a module of layers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop(MODULE, None)


def model_with(folder: Path, *layers: Any) -> Path:
    """A model whose file has these layers, too, behind its own."""
    return changed(table().save(folder / "model"), lambda found: found["layers"].extend(layers))


def changed(folder: Path, change: Any) -> Path:
    file = folder / "model.json"
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))
    return folder


CALLS: list[Any] = [
    {"os:system": {"command": "touch ran"}},
    {"sequence": [{"os:system": {"command": "touch ran"}}]},
    {"parallel": {"branches": [["relu"], [{"residual": ["os:abort"]}]], "join": "add"}},
    {"repeat": {"times": 2, "layers": [{"subprocess:run": "touch ran"}]}},
    f"{MODULE}:own",
    {f"{MODULE}:own": {"settings": "os:system"}},
]


@pytest.mark.parametrize("layer", CALLS, ids=str)
def test_a_model_that_names_a_function_is_not_loaded(here: Path, layer: Any) -> None:
    folder = model_with(here, layer)
    for load in (load_model, flavor._load_pyfunc):
        with pytest.raises(TrustError, match="wants to run") as caught:
            load(str(folder))
        assert "--trust" in caught.value.fix
    assert not (here / "ran").exists() and not (here / f"{MODULE}.imported").exists()


@pytest.mark.parametrize("command", [["predict", "model", "data.parquet", "--out", "out"], ["evaluate", "model", "d"]])
def test_commands_do_not_run_it_either(here: Path, command: list[str]) -> None:
    model_with(here, {"os:system": {"command": "touch ran"}})
    ran = CliRunner().invoke(main, command)
    assert ran.exit_code == 2 and "os:system" in ran.output and "--trust os" in ran.output
    assert not (here / "ran").exists()


def test_a_trusted_module_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_with(here, f"{MODULE}:own")
    rows = {"age": [30], "smoker": ["no"], "weight": [70.0]}
    expected = np.tanh(load_model(table().save(here / "plain")).predict(rows))
    np.testing.assert_array_equal(load_model(folder, trust=[MODULE]).predict(rows), expected)
    monkeypatch.setenv("DISTPROP_TRUST", f"other, {MODULE}")
    np.testing.assert_array_equal(flavor._load_pyfunc(str(folder)).predict(rows), expected)


def test_trust_is_in_whole_names_of_modules(here: Path) -> None:
    folder = model_with(here, f"{MODULE}:own")
    for name in (MODULE[:-1], f"{MODULE}.inner", "", "."):
        with pytest.raises(TrustError):
            load_model(folder, trust=[name])


def test_what_a_trusted_module_has_from_elsewhere_is_not_trusted(here: Path) -> None:
    with pytest.raises(TrustError, match="subprocess"):
        load_model(model_with(here, {f"{MODULE}:run": "touch ran"}), trust=[MODULE])
    assert not (here / "ran").exists()


@pytest.mark.parametrize("name", [".os:system", "os.:system", "os :system", "os:path.join", "os:", ":system", "a:b:c"])
def test_what_is_no_name_of_a_function_is_not_looked_up(here: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="names no function"):
        load_model(model_with(here, {name: {}}), trust=["os"])


def test_what_goes_in_and_out_is_known_without_running_code(here: Path) -> None:
    folder = model_with(here, {"os:system": {"command": "touch ran"}})
    outline, digest = load_outline(folder)
    assert outline.predicted_shape == () and digest == table().digest
    changed(folder, lambda found: found.pop("output_shape"))
    with pytest.raises(TrustError):
        load_outline(folder)
    assert not (here / "ran").exists()


HUGE = 10**12
BOMBS: dict[str, Any] = {
    "width": lambda found: found["layers"].__setitem__(0, {"dense": HUGE}),
    "input": lambda found: found.update(input_shape=[HUGE, HUGE]),
    "rows of features": lambda found: found["features"]["features"][0]["column"].update(kind="list", shape=[HUGE]),
    "layers": lambda found: found["layers"].append({"repeat": {"times": HUGE, "layers": ["relu"]}}),
    "layers of layers": lambda found: found["layers"].append(
        {"repeat": {"times": 999, "layers": [{"repeat": {"times": 999, "layers": ["relu"]}}]}}
    ),
    "no axis": lambda found: found.update(input_shape=[-4]),
    "true": lambda found: found.update(input_shape=[True]),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_sizes_that_nobody_has_are_a_clear_error(tmp_path: Path, bomb: str) -> None:
    folder = changed(table().save(tmp_path / "model"), BOMBS[bomb])
    with pytest.raises(UserError) as caught:
        load_model(folder)
    assert caught.value.why and caught.value.fix


def test_a_row_that_takes_all_memory_is_refused_though_no_weight_is_missing(tmp_path: Path) -> None:
    """Pooling has no weights that would have to be in the file."""

    def widen(found: Any) -> None:
        found["features"]["features"][0]["column"]["shape"] = [HUGE, 8]
        found.update(input_shape=[HUGE, 8], layers=["global_average_pool", "relu", {"dense": 3}])

    folder = changed(images().save(tmp_path / "model"), widen)
    weights = {"2.dense.W": np.zeros((8, 3), np.float32), "2.dense.b": np.zeros(3, np.float32)}
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(UserError, match="rows of shape"):
        load_model(folder)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["relu", "dense"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are values inside of plain values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


@given(data=st.data())
def test_any_description_is_a_model_that_predicts_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    make = data.draw(st.sampled_from([images, table, numbers]))
    folder = make().save(tmp_path_factory.mktemp("fuzz"))

    def change(found: Any) -> None:
        *path, last = data.draw(st.sampled_from(list(places(found))))
        for key in path:
            found = found[key]
        found[last] = data.draw(PLAIN)

    changed(folder, change)
    try:
        model = load_model(folder)
    except UserError:
        return
    assert model.digest == make().digest


@pytest.mark.parametrize("depth", [300, 480, 10**5])
def test_a_description_that_is_nested_too_deep_is_a_clear_error(tmp_path: Path, depth: int) -> None:
    folder = numbers().save(tmp_path / "model")
    file = folder / "model.json"
    deep = '{"sequence": [' * depth + '"relu"' + "]}" * depth
    file.write_text(file.read_text().replace('"layers": [', f'"layers": [{deep}, ', 1))
    with pytest.raises(CheckpointError, match="does not describe a"):
        load_model(folder)
