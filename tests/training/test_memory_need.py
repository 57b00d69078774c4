"""A job that cannot fit into this machine's memory is refused before anything is allocated, by layer and by figures."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from distprop.cli import main
from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.training import check, describe, machine_memory, memory_need, train
from distprop.training.machine_memory import Memory
from tests.runtime.small import small_job

HUGE = 1_000_000_000


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ([{"dense": HUGE}, "relu", {"dense": 3}], r"0\.dense has 7,000,000,000 parameters"),
        ([{"dense": 10**13}, {"dense": 3}], r"0\.dense"),
        (
            [{"reshape": [6, 1]}, {"conv1d": {"channels": HUGE, "kernel": 3}}, "flatten", {"dense": 3}],
            r"\.(conv1d|dense) has",
        ),
        ([{"embedding": {"rows": 10**7, "width": 6_400}}, "flatten", {"dense": 3}], r"0\.embedding has 64,000,000,000"),
        ([{"lstm": HUGE}, {"dense": 3}], r"lstm"),
    ],
)
def test_a_layer_that_is_too_large_is_named_with_what_it_takes_and_what_there_is(
    model: list[Any], layer: str, rows: str, here: Path
) -> None:
    if "lstm" in model[0]:
        model = [{"reshape": [6, 1]}, *model]
    job = small_job(rows, here / "kept", model=model)
    with pytest.raises(ConfigError, match=layer) as error:
        train(job, inline=True)
    assert " GB of memory, and th" in error.value.what
    assert not list(here.iterdir()), "nothing is written, no run begins"
    assert any("GB of memory" in note for note in describe(job).notes)
    found = {result.name: result for result in check(job, inline=True)}
    assert not found["memory"].ok
    assert "gradients" not in found, "what does not fit is not tried"


def test_the_command_ends_with_2(rows: str, here: Path) -> None:
    job = load_job(small_job(rows, here / "kept", model=[{"dense": HUGE}, {"dense": 3}]))
    (here / "job.yaml").write_text(job.to_yaml())
    done = CliRunner().invoke(main, ["train", "job.yaml", "--inline"])
    assert (done.exit_code, "0.dense has" in done.stderr, "mistake" in done.stderr) == (2, True, False)


def test_a_batch_whose_activations_do_not_fit_is_told_with_its_rows(
    rows: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = [{"dense": 500}, {"repeat": {"times": 9, "layers": ["relu"]}}, {"dense": 3}]
    monkeypatch.setattr(memory_need, "machine_memory", lambda: Memory(300_000, "this machine"))
    with pytest.raises(ConfigError, match=r"layer .* GB of activations for \d+ rows.*batch_size"):
        raise_in_one_line(small_job(rows, here / "kept", model=wide))
    monkeypatch.setattr(memory_need, "machine_memory", lambda: Memory(10**12, "this machine"))
    raise_in_one_line(small_job(rows, here / "kept", model=wide, train__epochs=1))


def test_a_batch_that_is_larger_than_the_data_takes_what_the_data_takes(rows: str, here: Path) -> None:
    job = small_job(rows, here / "kept", data__batch_size=10**12, train={"steps": 2})
    assert train(job, inline=True).status == "finished"


def raise_in_one_line(job: dict[str, Any]) -> None:
    try:
        train(job, inline=True)
    except ConfigError as error:
        raise ConfigError(f"{error.what} {error.why} {error.fix}", "", "") from error


def test_the_optimizers_state_counts(rows: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [{"dense": 2_000}, {"dense": 3}]
    plain = small_job(rows, here / "kept", model=sizes, optimizer={"sgd": {"learning_rate": 0.1}}, train__epochs=1)
    stately = plain | {"optimizer": {"adam": {"learning_rate": 0.1}}}
    whys: list[str] = []
    monkeypatch.setattr(memory_need, "machine_memory", lambda: Memory(1, "this machine"))
    for job in (plain, stately):
        with pytest.raises(ConfigError) as error:
            train(job, inline=True)
        whys.append(error.value.why)
    assert "no state" in whys[0]
    assert "adam, which has 2 values of state" in whys[1]
    assert "sgd" in error.value.fix, "a way out"


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": "5000\n", "a/b/memory.max": "max\n"}, 5000),
        ("0::/a/b\n", {"a/b/memory.max": "7000\n", "a/memory.max": "9000\n"}, 7000),
        ("5:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": "6000\n"}, 6000),
        ("5:memory:/not/seen/from/inside\n", {"memory/memory.limit_in_bytes": "6000\n"}, 6000),
        ("3:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "6000\n"}, 8192),
        ("0::/\n", {}, 8192),
    ],
)
def test_the_smallest_limit_of_control_groups_and_machine_counts(
    membership: str, files: dict[str, str], limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    (tmp_path / "of").write_text(membership)
    (tmp_path / "machine").write_text("MemTotal: 6 kB\nMemFree: 1 kB\nSwapTotal: 2 kB\n")
    for name, path in (("GROUPS", "groups"), ("MEMBERSHIP", "of"), ("MACHINE", "machine")):
        monkeypatch.setattr(machine_memory, name, tmp_path / path)
    found = machine_memory.machine_memory()
    assert found is not None
    assert found.bytes == limit
