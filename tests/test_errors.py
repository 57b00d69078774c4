"""Errors say what, why and what to do, and survive a process boundary."""

import importlib
import pickle
import pkgutil

import pytest

import distprop
from distprop.errors import DistpropError, LostError, TrainingError, UserError


def _import_all() -> None:
    """Every module that the base installation can import, so that no error class is missed."""
    for module in pkgutil.walk_packages(distprop.__path__, "distprop."):
        if not module.name.startswith(("distprop.runtime.ray", "distprop.flavor", "distprop.__main__")):
            importlib.import_module(module.name)


def _family(base: type[DistpropError]) -> list[type[DistpropError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _family(child))]


_import_all()
KINDS = sorted(_family(DistpropError), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("said", [("what",), ("what", "why"), ("what", "why", "fix")])
def test_every_error_equals_itself_after_pickling(kind, protocol, said) -> None:
    error = kind(*said)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert again == error and (again.what, again.why, again.fix) == (error.what, error.why, error.fix)
    assert str(again) == str(error)


def test_all_of_the_tree_is_looked_at() -> None:
    assert {"ConfigError", "DataError", "DivergedError", "Stop", "PlannedFault"} <= {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_says_in_its_docstring_when_it_is_raised(kind) -> None:
    assert kind.__doc__ and kind.__doc__ != kind.__base__.__doc__


def test_an_error_prints_what_it_knows_and_nothing_else() -> None:
    assert str(LostError("gone")) == "gone"
    assert str(LostError("gone", "the power", "plug it in")) == "gone\n  why: the power\n  fix: plug it in"


def test_errors_of_another_kind_or_text_differ() -> None:
    assert UserError("a") != TrainingError("a") and UserError("a") != UserError("b")
    assert len({UserError("a"), UserError("a"), UserError("b")}) == 2
