"""What the bits depend on, and what differs where they may."""

from dataclasses import replace

import pytest

from distprop.numerics import canary as canaries
from distprop.numerics.fingerprint import take_fingerprint


def test_a_fingerprint_is_the_same_each_time_and_plain() -> None:
    first, second = (take_fingerprint("recipe", "data", "haswell") for _ in range(2))
    assert first == second
    assert all(isinstance(value, str) and value for value in first.plain().values())


def test_what_differs_is_named_on_both_sides() -> None:
    here = take_fingerprint("recipe", "data", "haswell")
    there = replace(here, numpy="1.0", canary="another").plain()
    said = here.differences(there)
    assert f"numpy: {here.numpy} here, 1.0 there" in said
    assert [one.split(":")[0] for one in said] == ["numpy", "canary"]


def test_the_canary_depends_on_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can fail: one operation that rounds otherwise gives another song."""
    before = canaries.canary()
    monkeypatch.setattr(canaries, "global_norm", lambda sums: sum(sums) * (1 + 1e-6))
    assert canaries.canary() != before


def test_a_fingerprint_without_a_field_differs_in_it() -> None:
    here = take_fingerprint("recipe", "data", "haswell")
    assert here.differences({}) != []
