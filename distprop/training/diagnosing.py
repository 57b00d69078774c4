"""What the figures of single layers mean: plain warnings, each said once, and the noise of the gradient.

Thresholds and where they come from are on the page docs/diagnostics.md.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from distprop.events import Diagnosed, Event, Listener, Warned

FAINT = 1e-4
"""A layer's gradient is faint when it is shorter than this, times that of the last layer."""
GROWTH = 100.0
"""Gradients explode when all of them together are longer than this, times the longest before."""
LARGE, HUGE = 1.0, 10.0
"""An update is too long when it is as long as the weights in a row, or this much longer once."""
PART, MOST = 0.5, 0.9
"""Too many units are dead, or values saturated, when it is this share in a row, or that share once."""
IN_A_ROW, TWICE = 3, 2
LOOKS_AT_NOISE = 5
KEEP = 0.9  # of the noise seen so far, with each look

_DEEP = "try relu or gelu with he weights, a norm layer between, residual blocks around, or fewer layers"
_SLOWER = "lower the learning rate or warm it up, set `optimizer.clip_norm: 1.0`, or standardize the features"
_DEAD = "lower the learning rate, use leaky_relu or gelu, or look at the biases before it: they hold it below 0"
_SATURATED = "lower the learning rate, standardize the features, put a norm layer before it, or use relu or gelu"


@dataclass
class Doctor:
    """Hears figures and says what is wrong. Remembers what was said, and what figures were like before."""

    warned: list[Warned] = field(default_factory=list)
    _rows: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, layer) -> looks in a row
    _longest: dict[str, float] = field(default_factory=dict)  # gradients
    _noise: tuple[float, float] = (0.0, 0.0)
    _looks: int = 0

    @property
    def noise_scale(self) -> float | None:
        """Rows of a batch from which on larger ones hardly help; None while that is not known."""
        variance, square = self._noise
        known = self._looks >= LOOKS_AT_NOISE and variance > 0 and square > 0
        return variance / square if known else None

    def examine(self, event: Diagnosed) -> Iterator[Event]:
        """The event with what follows from it, and warnings."""
        self._hear_noise(event)
        scale = self.noise_scale if event.noise else None
        yield event if scale is None else replace(event, figures={**event.figures, "noise_scale": scale})
        for kind, layer, what, fix in self._complaints(event):
            if not any((one.kind, one.layer) == (kind, layer) for one in self.warned):
                self.warned.append(Warned(event.time, event.version, kind, layer, what, fix))
                yield self.warned[-1]

    def _hear_noise(self, event: Diagnosed) -> None:
        if event.noise is not None:
            mixed = zip(self._noise, event.noise, strict=True)
            variance, square = (KEEP * old + (1 - KEEP) * new for old, new in mixed)
            self._noise, self._looks = (variance, square), self._looks + 1

    def _complaints(self, event: Diagnosed) -> Iterator[tuple[str, str, str, str]]:
        norms = of_kind(event.figures, "gradient_norm")
        if norms:
            yield from self._vanishing(norms)
            yield from self._exploding(norms)
            yield from self._lengthy(of_kind(event.figures, "update_ratio"))
        yield from self._idle(of_kind(event.figures, "dead"), "dead", "units are 0 for every validation row", _DEAD)
        text = "outputs for validation rows are so near a limit that the slope there is almost 0"
        yield from self._idle(of_kind(event.figures, "saturated"), "saturated", text, _SATURATED)

    def _vanishing(self, norms: Mapping[str, float]) -> Iterator[tuple[str, str, str, str]]:
        *before, last = norms
        faint = [layer for layer in before if norms[layer] < FAINT * norms[last]]
        first = next(iter(norms))
        if not self._lasts("vanishing", first, first in faint, IN_A_ROW):
            return
        if norms[first]:
            what = f"its gradient is {norms[first] / norms[last]:.0e} times as long as that of layer {last}"
        else:
            what = "no gradient reaches it"
        others = f"; the same is true of all layers up to {faint[-1]}" if len(faint) > 1 else ""
        yield "vanishing", first, f"layer {first} does not learn: {what}{others}", _DEEP if norms[first] else _DEAD

    def _exploding(self, norms: Mapping[str, float]) -> Iterator[tuple[str, str, str, str]]:
        """The layer that grew most; where gradients are not finite, the last one: backpropagation began there."""
        lost = [layer for layer, norm in norms.items() if not math.isfinite(norm)]
        if lost:
            yield "exploding", lost[-1], f"layer {lost[-1]}: its gradient is not finite", _SLOWER
            return
        before, self._longest = (
            self._longest,
            {key: max(norm, self._longest.get(key, 0.0)) for key, norm in norms.items()},
        )
        whole, longest = math.hypot(*norms.values()), math.hypot(*before.values())
        if longest and whole > GROWTH * longest:
            growth = {layer: norms[layer] / old for layer, old in before.items() if old}
            worst = max(growth, key=lambda layer: growth[layer])
            text = f"layer {worst}: its gradient is {growth[worst]:,.0f} times as long as the longest before"
            yield "exploding", worst, text, _SLOWER

    def _lengthy(self, ratios: Mapping[str, float]) -> Iterator[tuple[str, str, str, str]]:
        """The layer whose weights change most, where that is too much: the others may only follow it."""
        if not ratios:
            return
        worst = max(ratios, key=lambda layer: ratios[layer])
        lasts = self._lasts("exploding", "", ratios[worst] > LARGE, TWICE)
        if lasts or ratios[worst] > HUGE:
            text = f"layer {worst}: one update was {ratios[worst]:,.3g} times as long as its weights; 0.001 is usual"
            yield "exploding", worst, text, _SLOWER

    def _idle(self, shares: Mapping[str, float], kind: str, text: str, fix: str) -> Iterator[tuple[str, str, str, str]]:
        for layer, share in shares.items():
            if self._lasts(kind, layer, share >= PART, TWICE) or share >= MOST:
                yield kind, layer, f"layer {layer}: {share:.0%} of its {text}", fix

    def _lasts(self, kind: str, layer: str, seen: bool, looks: int) -> bool:
        """Whether it was seen in so many looks in a row."""
        self._rows[kind, layer] = self._rows[kind, layer] + 1 if seen else 0
        return self._rows[kind, layer] >= looks


def of_kind(figures: Mapping[str, float], kind: str) -> dict[str, float]:
    """The figures of one kind, by layer."""
    return {name.partition("/")[2]: value for name, value in figures.items() if name.startswith(f"{kind}/")}


def attended(doctor: Doctor, heard: Listener) -> Listener:
    """A listener that has the doctor look at figures of layers before `heard` gets them, and remember all warnings."""

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            doctor.warned.append(event)
        told: Iterable[Event] = doctor.examine(event) if isinstance(event, Diagnosed) else (event,)
        for one in told:
            heard(one)

    return listen
