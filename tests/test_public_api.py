"""The door: what it shows is sorted and whole, and opening it loads nothing heavy."""

import subprocess
import sys

import pytest

import distprop

HEAVY = {"ray", "mlflow", "pyarrow", "numpy", "pydantic", "click", "rich", "sklearn", "threadpoolctl"}


def _loaded_after(code: str) -> set[str]:
    """The packages that a fresh process has loaded after `code`."""
    listing = "; import sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code + listing], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in ran.stdout.split()}


def test_all_is_sorted_and_every_name_is_there() -> None:
    assert distprop.__all__ == sorted(distprop.__all__)
    for name in distprop.__all__:
        assert getattr(distprop, name) is not None
    assert dir(distprop) == distprop.__all__


def test_every_public_thing_is_documented() -> None:
    undocumented = [name for name in distprop.__all__ if not getattr(distprop, name).__doc__]
    assert undocumented == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="trian"):
        distprop.trian  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    assert _loaded_after("import distprop") & HEAVY == set()


def test_errors_and_events_load_nothing_heavy() -> None:
    assert (
        _loaded_after("import distprop; distprop.errors, distprop.events, distprop.Stop, distprop.Result") & HEAVY
        == set()
    )


def test_training_and_models_need_neither_ray_nor_mlflow() -> None:
    loaded = _loaded_after("import distprop; distprop.train, distprop.load_model, distprop.check, distprop.describe")
    assert loaded & {"ray", "mlflow", "sklearn"} == set()


def test_numbers_are_read_without_pandas() -> None:
    """pyarrow's own ways, `pa.array` and `to_numpy`, load it: 0.2 s and 30 MB in every process that reads."""
    code = """
import pyarrow as pa
from distprop.data.columns import Column
from distprop.data.decoding import decode
two = pa.Array.from_buffers(pa.int32(), 2, [None, pa.py_buffer(bytes(12))], offset=1)
assert decode(Column("x", "number", "int32"), pa.chunked_array([two]), "here").tolist() == [0, 0]"""
    assert "pandas" not in _loaded_after(code)


def test_help_loads_neither_arrays_nor_files() -> None:
    code = "from click.testing import CliRunner; from distprop.cli import main; CliRunner().invoke(main, ['--help'])"
    assert _loaded_after(code) & {"ray", "mlflow", "pyarrow", "numpy", "sklearn"} == set()
