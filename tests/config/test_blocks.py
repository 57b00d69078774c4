"""Blocks are layers that are written once: a model that uses them is the model that has them written out."""

from typing import Any

import pytest

from distprop.config import load_job
from distprop.errors import ConfigError

REST: dict[str, Any] = {
    "data": {"train": "rows.parquet", "target": "y"},
    "loss": "softmax_cross_entropy",
    "optimizer": {"sgd": {}},
    "train": {"epochs": 1},
}
HIDDEN = [{"dense": 8}, "relu"]


def model_of(model: Any, **blocks: Any) -> Any:
    return load_job({**REST, "model": model, "blocks": blocks}).plain()["model"]


@pytest.mark.parametrize(
    ("used", "written"),
    [
        ("hidden", {"sequence": {"layers": HIDDEN}}),
        ({"hidden": None}, {"sequence": {"layers": HIDDEN}}),
        ({"hidden": {"repeat": 3}}, {"repeat": {"times": 3, "layers": HIDDEN}}),
        ({"hidden": {"repeat": 3, "recompute": True}}, {"repeat": {"times": 3, "layers": HIDDEN, "recompute": True}}),
        ({"residual": ["hidden", "tanh"]}, {"residual": [{"sequence": {"layers": HIDDEN}}, "tanh"]}),
        (
            {"repeat": {"times": 2, "layers": ["hidden"]}},
            {"repeat": {"times": 2, "layers": [{"sequence": {"layers": HIDDEN}}]}},
        ),
        (
            {"parallel": {"branches": [["hidden"], ["tanh"]], "join": "add"}},
            {"parallel": {"branches": [[{"sequence": {"layers": HIDDEN}}], ["tanh"]], "join": "add"}},
        ),
        ({"parallel": [["hidden"]]}, {"parallel": [[{"sequence": {"layers": HIDDEN}}]]}),
        ({"dense": 4}, {"dense": 4}),
    ],
    ids=str,
)
def test_a_block_is_its_layers(used: Any, written: Any) -> None:
    assert model_of([used, {"dense": 3}], hidden=HIDDEN) == [written, {"dense": 3}]


def test_blocks_use_blocks_and_leave_no_trace_in_the_recipe() -> None:
    outer = {"sequence": {"layers": [{"repeat": {"times": 2, "layers": HIDDEN}}, {"dense": 3}]}}
    used = load_job(
        {**REST, "model": ["outer"], "blocks": {"outer": [{"hidden": {"repeat": 2}}, {"dense": 3}], "hidden": HIDDEN}}
    )
    plain = load_job({**REST, "model": [outer]})
    assert used.plain() == plain.plain()
    assert used.recipe_hash() == plain.recipe_hash()
    assert load_job(used) == used


@pytest.mark.parametrize(
    ("model", "blocks", "word"),
    [
        (["a"], {"a": ["b"], "b": ["a"]}, "`a` uses itself"),
        (["a"], {"a": []}, "a"),
        (["a"], {"a": "relu"}, "list of layers"),
        ([{"a": 4}], {"a": HIDDEN}, "repeat: 4"),
        ([{"a": {"times": 4}}], {"a": HIDDEN}, "times"),
    ],
)
def test_wrong_blocks_are_refused(model: Any, blocks: Any, word: str) -> None:
    with pytest.raises(ConfigError, match="block") as caught:
        model_of(model, **blocks)
    assert word in str(caught.value) and caught.value.fix
