"""steps: a whole training step of distprop and of PyTorch DDP, in turns, in one run."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from benchmarks import ddp, machine
from benchmarks.cases import CASES, TARGETS, Case
from benchmarks.driven import Driven, on_ray
from benchmarks.figures import gap, median, samples, spread
from benchmarks.job import Job
from benchmarks.part import Report, Settings
from benchmarks.roofline import Rooflines
from benchmarks.tables import share, text

CLIP = 1.0
CHECKED = 20  # steps whose losses are compared
AGREE = 2e-3
"""Largest relative difference of losses: both sides round differently, and Adam passes on signs of tiny gradients."""

COLUMNS = {
    "title": "case",
    "shards": "V",
    "clip": "clip",
    "distprop_ms": "distprop ms",
    "distprop_spread": "±",
    "ddp_ms": "DDP ms",
    "ddp_spread": "±",
    "ratio": "ratio",
    "target": "target",
    "rounds": "by round",
    "roofline_share": "roofline",
    "ddp_roofline_share": "DDP's",
    "beyond_ms": "beyond ms",
    "ddp_beyond_ms": "DDP's",
    "stacked": "V=4W / V=W",
    "wire_mb": "lo MB",
    "ddp_wire_mb": "DDP's",
    "shared_mb": "shm MB",
    "loss_gap": "loss gap",
    "skipped": "skipped",
}

REMARKS = [
    "ms: median of a step, ±: half the distance of the quartiles, as a share. ratio: DDP's median over ours; by round: "
    "the same within each round.",
    "roofline: time of the step's matrix products alone, in each side's own library and as many processes, over the "
    "step. A part of the ratio is that library: MKL takes a slower path on AMD.",
    "beyond: the step without forward and backward of one worker's rows, each side's own, measured alone.",
    "lo MB: over the loopback interface a step, measured; shm MB: gradients and weights in shared memory, computed.",
]


class Variant(NamedTuple):
    """A way to run a case: leaves a worker, clipping."""

    leaves: int
    clip_norm: float | None


VARIANTS = (Variant(1, None), Variant(4, None), Variant(1, CLIP))


@dataclass
class Side:
    """What was measured of one side."""

    samples: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)  # one a round
    moved: list[float] = field(default_factory=list)  # loopback bytes a step

    def take(self, times: list[float], group: int, moved: int) -> None:
        """A block's step times."""
        found = samples(times, group)
        self.samples += found
        self.medians.append(median(found))
        self.moved.append(moved / len(times))


def measure(settings: Settings) -> list[Report]:
    """All cases that were asked for."""
    report = Report("Steps: distprop and PyTorch DDP", COLUMNS, remarks=[*REMARKS])
    missing = ddp.why_not()
    if missing:
        report.remarks.append(f"DDP was not measured: {missing}")
    with on_ray():
        for name in settings.cases:
            report.rows += _rows(_shortened(CASES[name]) if settings.quick else CASES[name], settings, not missing)
    return [report]


def _rows(case: Case, settings: Settings, with_ddp: bool) -> list[dict[str, Any]]:
    if case.missing:
        return [{"case": case.name, "title": case.title, "skipped": case.missing}]
    return list(_case(case, settings, with_ddp))


def _shortened(case: Case) -> Case:
    return replace(case, steps=max(8, case.steps // 2))


def _case(case: Case, settings: Settings, with_ddp: bool) -> Iterator[dict[str, Any]]:
    workers = settings.workers
    with ExitStack() as stack:
        ours = {variant: stack.enter_context(closing(_driven(case, variant, workers))) for variant in VARIANTS}
        theirs = stack.enter_context(closing(ddp.Ddp(case, workers))) if with_ddp else None
        roofs = stack.enter_context(closing(Rooflines(case, workers, with_ddp)))
        gaps = {variant: _checked(case, ours[variant], theirs, variant) for variant in VARIANTS}
        measured = _Measured(case, roofs, theirs)
        for number in range(settings.rounds):
            settings.say(f"steps {case.name}: round {number + 1} of {settings.rounds}")
            for variant in VARIANTS:
                measured.variant(variant, ours[variant])
            measured.roofs(0.05 if settings.quick else 0.2)
        parameters = ours[VARIANTS[0]].parameters
    for variant in VARIANTS:
        yield measured.row(variant, workers, parameters) | {"loss_gap": gaps[variant]}


def _driven(case: Case, variant: Variant, workers: int) -> Driven:
    shards = workers * variant.leaves
    job = Job(case.layers, case.input_shape, case.classes, case.rows * workers, shards, clip_norm=variant.clip_norm)
    return Driven(job.blueprint(), workers)


def _checked(case: Case, ours: Driven, theirs: ddp.Ddp | None, variant: Variant) -> float | None:
    """How far the losses of the first steps lie apart. Raises RuntimeError where that is other arithmetic."""
    losses = ours.run(CHECKED).losses
    if theirs is None:
        return None
    _, others = theirs.run(CHECKED, variant.clip_norm)
    found = gap(losses, others)
    if found > AGREE or not losses[-1] < losses[0]:
        raise RuntimeError(f"case {case.name}, {variant}: losses differ by {found:.2g}: {losses} and {others}")
    return found


class _Measured:
    """The rounds of a case."""

    def __init__(self, case: Case, roofs: Rooflines, theirs: ddp.Ddp | None) -> None:
        self._case, self._roofs, self._theirs = case, roofs, theirs
        self._ours_by = {variant: Side() for variant in VARIANTS}
        self._theirs_by = {variant: Side() for variant in VARIANTS}
        self._figures: dict[str, list[float]] = {name: [] for name in ("roof", "ddp_roof", "leaf", "ddp_leaf")}

    def variant(self, variant: Variant, ours: Driven) -> None:
        """One block of each side."""
        before = machine.loopback_bytes()
        ran = ours.run(self._case.steps)
        between = machine.loopback_bytes()
        self._ours_by[variant].take(ran.times, self._case.group, between - before)
        if self._theirs is not None:
            times, _ = self._theirs.run(self._case.steps, variant.clip_norm)
            self._theirs_by[variant].take(times, self._case.group, machine.loopback_bytes() - between)

    def roofs(self, seconds: float) -> None:
        """Products and leaves alone."""
        self._figures["roof"].append(self._roofs.numpy(seconds))
        self._figures["leaf"].append(self._roofs.leaf(seconds))
        if self._theirs is not None:
            self._figures["ddp_roof"].append(self._roofs.torch(seconds))
            self._figures["ddp_leaf"].append(self._theirs.alone(seconds))

    def row(self, variant: Variant, workers: int, parameters: int) -> dict[str, Any]:
        """A line of the table."""
        ours, theirs = self._ours_by[variant], self._theirs_by[variant]
        roof, ddp_roof, leaf, ddp_leaf = (median(self._figures[name]) for name in self._figures)
        step, other = median(ours.samples), median(theirs.samples)
        single = median(self._ours_by[VARIANTS[0]].samples)
        ratios = [b / a for a, b in zip(ours.medians, theirs.medians, strict=False)]
        return {
            "case": self._case.name,
            "title": self._case.title,
            "workers": workers,
            "shards": workers * variant.leaves,
            "clip": variant.clip_norm is not None,
            "parameters": parameters,
            "steps": self._case.steps * len(ours.medians),
            "distprop_ms": step,
            "distprop_spread": spread(ours.samples),
            "ddp_ms": other,
            "ddp_spread": spread(theirs.samples),
            "ratio": other / step,
            "target": TARGETS[self._case.name],
            "ratios": ratios,
            "rounds": " ".join(text(ratio) for ratio in ratios) or None,
            "roofline": roof / step,
            "ddp_roofline": ddp_roof / other,
            "roofline_share": share(roof / step),
            "ddp_roofline_share": share(ddp_roof / other),
            "products_ms": roof,
            "ddp_products_ms": ddp_roof,
            "leaf_ms": leaf,
            "ddp_leaf_ms": ddp_leaf,
            "beyond_ms": step - leaf,
            "ddp_beyond_ms": other - ddp_leaf,
            "stacked": step / single if variant.leaves > 1 else None,
            "wire_mb": median(ours.moved) / 1e6,
            "ddp_wire_mb": median(theirs.moved) / 1e6,
            "shared_mb": (workers + 1) * 4 * parameters / 1e6,
        }
