"""What a person sees of a training: a live line on a terminal, plain lines elsewhere, and a summary at the end.

A listener to events like any other. It reads no clock: events carry their time.
"""

import math
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast

from distprop.events import (
    CheckpointFailed,
    Evaluated,
    Event,
    RunEnded,
    RunStarted,
    ServerLost,
    StartEnded,
    StepEnded,
    Warned,
    WorkerLost,
)
from distprop.report import Result
from distprop.standard_streams import Lenient

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_SECONDS = 5.0  # between two plain lines
LAYERS_SHOWN = 12
SMOOTHING = 0.1  # weight of the newest step in what is shown


class Progressing:
    """How far the training is, from its events; numbers only."""

    def __init__(self) -> None:
        self.name, self.version, self.first_version, self.last_version = "", 0, 0, 0
        self.steps_per_epoch = 1
        self.metrics: dict[str, float] = {}
        self.held_out: dict[str, float] = {}
        self.rows_per_second = self.seconds_per_step = math.nan

    def start(self, event: RunStarted) -> None:
        """Take in where the training begins and ends."""
        self.name, self.version, self.first_version = event.name, event.version, event.version
        self.last_version, self.steps_per_epoch = event.last_version, max(1, event.steps_per_epoch)

    def step(self, event: StepEnded) -> None:
        """Take in one step; loss and speed are smoothed."""
        self.version = event.version
        self.metrics = {name: _smooth(self.metrics.get(name), value) for name, value in event.metrics.items()}
        if event.seconds > 0 and event.version > self.first_version + 1:  # the first step warms up
            self.seconds_per_step = _smooth(self.seconds_per_step, event.seconds)
            self.rows_per_second = _smooth(self.rows_per_second, event.rows / event.seconds)

    def line(self) -> str:
        """One line, the most wanted first: "epoch 2/5  step 120/600  0:12 left  45,000 rows/s  loss 0.3100"."""
        parts = [f"epoch {self.epoch}/{self.epochs}", f"step {self.version:,}/{self.last_version:,}"]
        if math.isfinite(self.rows_per_second):
            parts += [f"{duration(self.seconds_left)} left", f"{self.rows_per_second:,.0f} rows/s"]
        return "  ".join([*parts, *measured(self.shown())])

    def shown(self) -> Mapping[str, float]:
        """The metrics worth a person's glance: loss and metrics of the training, and of held-out rows."""
        trained = {name.removeprefix("train/"): value for name, value in self.metrics.items() if "train/" in name}
        return {**trained, **self.held_out}

    @property
    def epoch(self) -> int:
        """The epoch that is being trained, from 1."""
        return min(self.epochs, self.version // self.steps_per_epoch + 1)

    @property
    def epochs(self) -> int:
        """How many epochs there will be, the last one perhaps in part."""
        return max(1, math.ceil(self.last_version / self.steps_per_epoch))

    @property
    def seconds_left(self) -> float:
        """An estimate from the speed of late."""
        return (self.last_version - self.version) * self.seconds_per_step


def _smooth(before: float | None, now: float) -> float:
    """Exponential mean; starts with the first finite value."""
    if before is None or not math.isfinite(before):
        return now
    return before + SMOOTHING * (now - before)


def measured(metrics: Mapping[str, float]) -> list[str]:
    """Metrics as texts: ["loss 0.3120", "valid/accuracy 0.9610"]."""
    return [f"{name} {value:.4f}" if abs(value) < 1000 else f"{name} {value:,.0f}" for name, value in metrics.items()]


def duration(seconds: float) -> str:
    """Seconds for a person: 0:07, 12:34, 1:02:03; "?" where unknown."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Console:
    """The listener: `with Console() as console: train(job, listeners=[console])`."""

    def __init__(self, stream: TextIO | None = None, live: bool | None = None) -> None:
        self._stream: TextIO = cast(TextIO, Lenient(sys.stderr if stream is None else stream))
        self._live = self._stream.isatty() if live is None else live
        self._state = Progressing()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._printed = -math.inf

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, event: Event) -> None:
        """Take in one event and show it."""
        match event:
            case RunStarted():
                self._start(event)
            case StepEnded():
                self._state.step(event)
                self._show(event.time)
            case Evaluated():
                self._state.held_out.update(event.metrics)
            case RunEnded():
                self._end()
            case _:
                self._tell(event)

    def _start(self, event: RunStarted) -> None:
        self._state = Progressing()
        self._state.start(event)
        going_on = f", from step {event.version:,}" if event.version else ""
        self._say(
            f"{event.name}: {event.parameters:,} parameters, {event.rows_per_epoch:,} rows, "
            f"{event.last_version:,} steps on {plural(event.workers, 'worker')} and {plural(event.servers, 'server')}"
            f"{going_on}"
        )
        if self._live and self._bar is None:
            self._bar = _make_bar(self._stream)
            self._task = self._bar.add_task("", total=event.last_version, completed=event.version)
            self._bar.start()

    def _show(self, time: float) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._state.version, description=self._state.line())
        elif time - self._printed >= PLAIN_SECONDS:
            self._printed = time
            self._say(self._state.line())

    def _end(self) -> None:
        if self._bar is None and self._state.version > self._state.first_version:
            self._say(self._state.line())
        self.close()

    def _tell(self, event: Event) -> None:
        match event:
            case WorkerLost():
                self._say(f"worker {event.worker} on {event.host} is lost ({event.why}); the others take its shards")
            case ServerLost():
                self._say(f"{event.why}; going on from the last checkpoint")
            case CheckpointFailed():
                self._say(f"no checkpoint at step {event.version:,} ({event.why}); the one before is whole")
            case StartEnded():
                self._say(started(event))
            case Warned():
                self._say(f"step {event.version:,}: {event.what}\n  {event.kind}; {event.fix}")
            case _:
                pass

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=self._stream, flush=True)


def _make_bar(stream: TextIO) -> "Progress":
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    narrow = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    bar = BarColumn(bar_width=12, table_column=Column(no_wrap=True, min_width=12))
    columns: list[Any] = [bar, TextColumn("{task.description}", markup=False, table_column=narrow)]
    return Progress(
        *columns, console=Terminal(file=stream, force_terminal=True), refresh_per_second=8, transient=True, expand=True
    )


def plural(count: int, word: str) -> str:
    """1 worker, 2 workers."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def started(event: StartEnded) -> str:
    """One of several starts: "start 1 (of 0 to 3): valid/loss 0.3120"."""
    value = {event.compared_by: event.metrics[event.compared_by]} if event.compared_by in event.metrics else {}
    return f"start {event.start} (of 0 to {event.starts - 1}): " + (event.why or ", ".join(measured(value)))


def summary(result: Result) -> str:
    """The last thing that a training shows: how it ended, where everything is, and what to type next."""
    where = f"{plural(result.workers, 'worker')}, {plural(result.servers, 'server')}"
    lines = [
        f"{result.status}: {plural(result.steps, 'step')}, {result.epochs:.4g} epochs in {duration(result.seconds)} "
        f"({result.rows_per_second:,.0f} rows/s; {where}{_source(result)})"
    ]
    lines += [f"  {text}" for text in measured(_judging(result.metrics))]
    lines += _compared(result)
    if result.time_shares:
        lines.append(
            "  workers' time: " + ", ".join(f"{name} {share:.0%}" for name, share in result.time_shares.items())
        )
    lines += _layers_time(result)
    if result.noise_scale is not None:
        lines.append(
            f"  largest useful batch: about {float(f'{result.noise_scale:.2g}'):,.0f} rows (gradient noise scale)"
        )
    facts = {"digest": result.digest, "run": _run(result), "model": result.model_uri, "checkpoint": result.checkpoint}
    lines += [f"  {name:<10} {value}" for name, value in facts.items() if value]
    if result.tracking_gap:
        lines.append(f"  not all of the run is in MLflow: {result.tracking_gap}")
    return "\n".join([*lines, *(f"next: {command}" for command in next_commands(result))])


def _compared(result: Result) -> list[str]:
    """Several starts side by side."""
    lines = []
    for row in result.starts:
        value = row.metrics.get(result.compared_by)
        shown = row.why if value is None else measured({result.compared_by: value})[0]
        lines.append(f"  start {row.start}: {shown}{' (the best: kept)' if row.start == result.start else ''}")
    return lines


def _layers_time(result: Result) -> list[str]:
    """The layers that take most of the layers' time, in their order."""
    ways = {name: (ways.get("forward", 0.0), ways.get("backward", 0.0)) for name, ways in result.layer_shares.items()}
    shown = set(sorted(ways, key=lambda name: -sum(ways[name]))[:LAYERS_SHOWN])
    lines = ["  layers' time, in training:"] if ways else []
    for name in (name for name in ways if name in shown):
        there, back = ways[name]
        lines.append(f"    {name:<20} {there + back:4.0%}  forward {there:.0%}, backward {back:.0%}")
    if others := [sum(ways[name]) for name in ways if name not in shown]:
        lines.append(f"    the other {len(others)} layers: {math.fsum(others):.0%}")
    return lines


def _judging(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """The metrics that say how good the model is: those of a split."""
    return {name: value for name, value in metrics.items() if name.startswith(("train/", "valid/", "test/"))}


def _source(result: Result) -> str:
    return f"; Ray address: {result.address_source}" if result.address_source else ""


def _run(result: Result) -> str | None:
    if result.run_id is None or result.tracking_uri is None:
        return result.run_id
    return f"{result.run_id} at {result.tracking_uri}"


def next_commands(result: Result) -> list[str]:
    """What a person would type next."""
    commands = []
    if result.spooled:
        commands.append(f"distprop sync {result.run_id or result.spool}    ({result.spooled:,} records wait)")
    if result.status != "finished":
        commands.append(f"distprop resume {result.run_id or result.checkpoint}")
    elif result.model_uri:
        commands.append(f"distprop evaluate {result.model_uri} DATA")
    if result.tracking_uri:
        commands.append("distprop ui")
    return commands
