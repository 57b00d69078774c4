"""What a person sees of a training: lines in step with events, and a summary that says what to type next."""

import io
import math
from dataclasses import replace

import pytest

from distprop.console import Console, Progressing, duration, summary
from distprop.events import (
    CheckpointFailed,
    EpochEnded,
    Evaluated,
    RunEnded,
    RunStarted,
    ServerLost,
    StepEnded,
    Warned,
    WorkerLost,
)
from distprop.report import Result

STARTED = RunStarted(
    time=0.0,
    name="digits",
    params={},
    tags={},
    config="",
    datasets=(),
    version=0,
    last_version=100,
    steps_per_epoch=25,
    rows_per_epoch=1600,
    parameters=9610,
    workers=2,
    servers=1,
)
RESULT = Result(
    run_id="abc",
    status="finished",
    steps=100,
    epochs=4.0,
    metrics={"valid/accuracy": 0.96123, "valid/loss": float("nan"), "learning_rate": 0.1},
    digest="d" * 64,
    model_uri="models:/m-1",
    workers=2,
    servers=1,
    seconds=65.2,
    rows_per_second=12345.6,
    tracking_uri="sqlite:///mlflow.db",
    address_source="embedded",
)


def step(version, time, loss=0.5, seconds=0.1):
    metrics = {"train/loss": loss, "train/accuracy": 0.5, "learning_rate": 0.1}
    return StepEnded(time, version, version // 25, metrics, 64, seconds, 0.0)


def seen_after(*events, live=False):
    stream = io.StringIO()
    with Console(stream, live=live) as console:
        for event in events:
            console(event)
    return stream.getvalue()


def ended(version, time=9.0):
    return RunEnded(time, "finished", version, {}, "d")


def test_plain_lines_say_what_runs_how_far_it_is_and_how_it_ended():
    lines = seen_after(STARTED, step(1, 0.1, seconds=9), step(2, 0.2), ended(2)).splitlines()
    assert lines[0] == "digits: 9,610 parameters, 1,600 rows, 100 steps on 2 workers and 1 server"
    assert lines[1] == "epoch 1/4  step 1/100  loss 0.5000  accuracy 0.5000"
    assert lines[2] == "epoch 1/4  step 2/100  0:10 left  640 rows/s  loss 0.5000  accuracy 0.5000"
    assert len(lines) == 3


def test_plain_lines_come_every_few_seconds_and_not_with_every_step():
    steps = [step(version, version * 0.1) for version in range(1, 101)]
    lines = seen_after(STARTED, *steps, ended(100)).splitlines()
    assert [line.split("  ")[1] for line in lines[1:]] == ["step 1/100", "step 51/100", "step 100/100"]
    assert "epoch 4/4" in lines[-1]


def test_held_out_metrics_join_the_line():
    evaluated = Evaluated(1.0, 25, 1.0, "valid", {"valid/accuracy": 0.9}, True, False)
    assert "valid/accuracy 0.9000" in seen_after(STARTED, step(25, 0.1), evaluated, ended(25))


def test_a_resumed_training_says_where_it_goes_on():
    assert "from step 40" in seen_after(replace(STARTED, version=40))


def test_a_warning_names_the_layer_and_what_to_try():
    said = seen_after(
        STARTED, Warned(1.0, 7, "dead", "1.relu", "layer 1.relu: 95% of its units are 0", "use leaky_relu")
    )
    assert "layer 1.relu: 95% of its units are 0" in said and "leaky_relu" in said


def test_the_summary_tells_the_largest_useful_batch():
    assert "largest useful batch: about 1,200 rows" in summary(replace(RESULT, noise_scale=1234.5))
    assert "useful" not in summary(RESULT)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (WorkerLost(1.0, 1, "host-a", "killed"), "worker 1 on host-a is lost (killed); the others take its shards"),
        (ServerLost(1.0, "server 0 is gone"), "server 0 is gone; going on from the last checkpoint"),
        (CheckpointFailed(1.0, 20, "disk full"), "no checkpoint at step 20 (disk full); the one before is whole"),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_losses_are_told(event, said, live):
    assert said in seen_after(STARTED, event, live=live)


def test_events_without_a_line_are_silent():
    assert seen_after(EpochEnded(1.0, 25, 0, 1600, "ff")) == ""


def test_a_live_line_is_drawn_on_a_terminal_and_removed_at_the_end():
    written = seen_after(STARTED, step(1, 0.1), step(50, 0.2), ended(50), live=True)
    assert "\x1b[" in written
    assert "step 50/100" in written


def test_a_metric_that_is_not_finite_does_not_stick_to_the_line():
    state = Progressing()
    state.start(STARTED)
    state.step(step(1, 0.1, loss=math.nan))
    state.step(step(2, 0.2, loss=2.0))
    assert state.metrics["train/loss"] == 2.0


def test_before_the_first_timed_step_nothing_is_promised():
    state = Progressing()
    state.start(STARTED)
    assert state.line() == "epoch 1/4  step 0/100"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (754, "12:34"), (3723, "1:02:03"), (math.inf, "?")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_the_summary_says_how_it_ended_where_things_are_and_what_to_type():
    text = summary(RESULT)
    assert text.splitlines()[0] == (
        "finished: 100 steps, 4 epochs in 1:05 (12,346 rows/s; 2 workers, 1 server; Ray address: embedded)"
    )
    for piece in ("valid/accuracy 0.9612", "d" * 64, "abc at sqlite:///mlflow.db", "models:/m-1"):
        assert piece in text
    assert "learning_rate" not in text
    assert "next: distprop evaluate models:/m-1 DATA" in text
    assert "next: distprop ui" in text


def test_the_summary_of_an_interrupted_training_says_how_to_go_on():
    text = summary(replace(RESULT, status="interrupted", model_uri=None, spooled=12))
    assert "next: distprop resume abc" in text
    assert "distprop sync abc" in text
    assert "evaluate" not in text


def test_the_plain_result_has_null_and_never_nan():
    import json

    plain = RESULT.plain()
    assert plain["metrics"] == {"valid/accuracy": 0.96123, "valid/loss": None, "learning_rate": 0.1}
    assert list(plain) == [
        "run_id", "status", "steps", "epochs", "metrics", "digest", "model_uri", "workers", "servers", "seconds",
        "rows_per_second", "start", "pending_records", "pending_reason", "warnings",
    ]  # fmt: skip
    json.dumps(plain, allow_nan=False)


def test_the_summary_has_the_layers_that_take_most_time_in_their_order():
    ways = {"forward": 0.02, "backward": 0.03}
    shares = {"0.conv2d": {"forward": 0.3}, **{f"{k}.dense": ways for k in range(1, 15)}}
    lines = summary(replace(RESULT, layer_shares=shares)).splitlines()
    shown = lines[lines.index("  layers' time, in training:") + 1 :]
    assert shown[0].split() == ["0.conv2d", "30%", "forward", "30%,", "backward", "0%"]
    assert shown[1].split() == ["1.dense", "5%", "forward", "2%,", "backward", "3%"]
    assert shown[12] == "    the other 3 layers: 15%"
    assert "layers' time" not in summary(RESULT)


def test_starts_are_shown_side_by_side():
    from distprop.report import Start

    rows = (
        Start(0, 7, "finished", 8, {"valid/loss": 0.5}, "d", None),
        Start(1, 8, "failed", 2, {}, None, None, "the loss became nan in step 2"),
        Start(2, 9, "finished", 8, {"valid/loss": 0.25}, "e", None),
    )
    text = summary(replace(RESULT, starts=rows, start=2, compared_by="valid/loss"))
    assert "  start 0: valid/loss 0.5000\n" in text
    assert "  start 1: the loss became nan in step 2\n" in text
    assert "  start 2: valid/loss 0.2500 (the best: kept)\n" in text
