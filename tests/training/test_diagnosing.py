"""Faults are planted, and the right warning names the right layer; a healthy training is left in peace."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from distprop import events
from distprop.errors import DivergedError
from distprop.training.diagnosing import Doctor
from tests.runtime.small import CLASSES, Ran, run, small_job

TANHS = [layer for _ in range(40) for layer in ({"dense": {"width": 8, "init": {"normal": 0.05}}}, "tanh")]


def planted(rows: str, folder: Path, model: list[Any], rate: float, **changes: Any) -> dict[str, Any]:
    changes = {"optimizer": {"sgd": {"learning_rate": rate}}, "train": {"epochs": 2}, **changes}
    return small_job(rows, folder, model=[*model, {"dense": CLASSES}], **changes)


def warned(ran: Ran) -> dict[str, str]:
    """The first layer that was named for each kind."""
    found: dict[str, str] = {}
    for event in ran.of(events.Warned):
        found.setdefault(event.kind, event.layer)
    return found


def test_a_healthy_training_is_left_in_peace(rows: str, here: Path) -> None:
    ran = run(small_job(rows, here, optimizer={"adamw": {"learning_rate": 0.01}}, train={"epochs": 8}))
    assert ran.of(events.Diagnosed) and not ran.of(events.Warned) and ran.result.warnings == ()


def test_forty_tanh_layers_with_small_weights_vanish_at_the_first(rows: str, here: Path) -> None:
    ran = run(planted(rows, here, TANHS, 0.01))
    assert warned(ran) == {"vanishing": "0.dense"}
    (what,) = ran.result.warnings
    assert "layer 0.dense does not learn" in what and "of layer 80.dense" in what


def test_a_rate_of_1000_explodes_and_names_a_layer(rows: str, here: Path) -> None:
    told: list[events.Event] = []
    model = [{"dense": 16}, "relu", {"dense": 16}, "relu"]
    job = {
        **planted(rows, here, model, 1000.0),
        "loss": "mean_squared_error",
        "metrics": None,
        "model": [*model, {"dense": 1}],
    }
    with pytest.raises(DivergedError, match=r"layer \d\.dense broke first"):
        run(job, listeners=[told.append])
    assert {event.kind for event in told if isinstance(event, events.Warned)} == {"exploding"}


@pytest.mark.parametrize("layer", ["0.dense", "2.dense", "4.dense"])
def test_a_rate_of_1000_in_one_layer_names_that_layer(rows: str, here: Path, layer: str) -> None:
    told: list[events.Event] = []
    optimizer = {"sgd": {"learning_rate": 0.001}, "rates": {f"{layer}.*": 1e6}}
    job = planted(rows, here, [{"dense": 16}, "tanh", {"dense": 16}, "tanh"], 0.0, optimizer=optimizer)
    with contextlib.suppress(DivergedError):
        run(job, listeners=[told.append])
    first = next(event for event in told if isinstance(event, events.Warned))
    assert (first.kind, first.layer) == ("exploding", layer)
    assert f"layer {layer}: one update was" in first.what


def test_biases_far_below_0_leave_relus_dead(rows: str, here: Path) -> None:
    model = [{"dense": 16}, "relu", {"dense": {"width": 12, "init": {"constant": -100.0}}}, "relu"]
    found = warned(run(planted(rows, here, model, 0.01)))
    assert found["dead"] == "3.relu"
    assert found["vanishing"] == "0.dense", "no gradient passes them"


def test_large_weights_saturate_tanh(rows: str, here: Path) -> None:
    model = [{"dense": 16}, "relu", {"dense": {"width": 12, "init": {"normal": 100.0}}}, "tanh"]
    assert warned(run(planted(rows, here, model, 1e-6)))["saturated"] == "3.tanh"


def looked(doctor: Doctor, version: int, noise: tuple[float, float] | None = None, **figures: float) -> list[Any]:
    """What the doctor makes of figures; a__b is a/b."""
    named = {name.replace("__", "/"): value for name, value in figures.items()}
    return list(doctor.examine(events.Diagnosed(0.0, version, named, noise)))


def kinds(told: list[Any]) -> list[tuple[str, str]]:
    return [(one.kind, one.layer) for one in told if isinstance(one, events.Warned)]


def test_what_passes_is_no_reason_to_warn() -> None:
    doctor = Doctor()
    for version, norm in enumerate([1e-6, 1e-6, 1.0, 1e-6, 1e-6]):
        assert kinds(looked(doctor, version, gradient_norm__a=norm, gradient_norm__b=1.0)) == []
    assert kinds(looked(doctor, 5, gradient_norm__a=1e-6, gradient_norm__b=1.0)) == [("vanishing", "a")]


def test_a_warning_is_said_once_for_each_layer() -> None:
    doctor = Doctor()
    assert kinds(looked(doctor, 1, dead__x=0.95, dead__y=0.6)) == [("dead", "x")]
    assert kinds(looked(doctor, 2, dead__x=0.95, dead__y=0.6)) == [("dead", "y")]
    assert kinds(looked(doctor, 3, dead__x=0.95, dead__y=0.6)) == []


def test_the_layer_that_grew_most_explodes() -> None:
    doctor = Doctor()
    looked(doctor, 1, gradient_norm__a=1.0, gradient_norm__b=5.0)
    told = looked(doctor, 2, gradient_norm__a=300.0, gradient_norm__b=600.0)
    assert kinds(told) == [("exploding", "a")]


def test_noise_is_averaged_before_it_is_divided() -> None:
    """Single looks may say less than nothing; the ratio of their means is told, once enough of them are known."""
    doctor = Doctor()
    for version, noise in enumerate([(80.0, 1.0), (120.0, 3.0), (100.0, -1.0), (90.0, 1.0)]):
        (event,) = looked(doctor, version, noise)
        assert doctor.noise_scale is None and "noise_scale" not in event.figures
    (event,) = looked(doctor, 4, (110.0, 1.0))
    assert event.figures["noise_scale"] == doctor.noise_scale == pytest.approx(102, rel=0.3)
