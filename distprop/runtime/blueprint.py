"""What every process of a job must know to do its part: the recipe made ready, and the data's description."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from distprop.data.dataset import Dataset
from distprop.data.receipt import LIMBS
from distprop.importing import importable
from distprop.nn.activity import watched
from distprop.nn.counts import Counts, confusion_counts, scatter_counts
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import Loss, build_loss
from distprop.nn.metrics import at_threshold, build_metrics
from distprop.nn.network import Network, build_network
from distprop.nn.tail import TailLayout
from distprop.optim.groups import Group, group_views
from distprop.optim.optimizer import Optimizer
from distprop.optim.optimizers import Extras, build_optimizer
from distprop.protocol.plan import cut

PIECE, MOST_PIECES = 2**19, 8
"""Values of a slice that is worth a message of its own between hosts; and slices of a server at most."""

EVALUATION_ROWS = 1024
"""Rows of a forward pass of an evaluation at most."""

MOST_CLASSES = 64
"""Classes up to which evaluations carry a confusion matrix."""


@dataclass(frozen=True)
class Blueprint:
    """A job, ready to be built in any process. Plain values only: it is sent to every actor."""

    layers: tuple[Any, ...]
    loss_spec: Any
    metric_names: tuple[Any, ...] | None  # names, or mappings from a name to settings
    optimizer_name: str
    optimizer_settings: Mapping[str, Any]
    optimizer_extras: Mapping[str, Any]  # see distprop.optim.optimizers.Extras
    seed: int
    last: int  # updates in the whole job
    dataset: Dataset
    micro_batch: int | None = None  # rows of a leaf that are worked on at a time; None: all of them
    watches: bool = False  # whether evaluations look for units that do nothing
    code: str | None = None  # the config's folder, where the functions of a user's layers may be

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, one.name) for one in fields(self))

    @cached_property
    def network(self) -> Network:
        """The network on this data's input shape."""
        with importable(self.code):
            return build_network(self.layers, self.dataset.input_shape)

    @cached_property
    def loss(self) -> Loss:
        """The loss."""
        return build_loss(self.loss_spec)

    @cached_property
    def optimizer(self) -> Optimizer:
        """The optimizer, with its schedule over all steps of the job."""
        return build_optimizer(self.optimizer_name, self.optimizer_settings, self._extras, self.last)

    @property
    def _extras(self) -> Extras:
        return Extras(**self.optimizer_extras)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The group of each view of the arena. Patterns are about parameters: running statistics have no rate."""
        extras, slots = self._extras, self.network.arena.slots
        names = [slot.name for slot in slots if not slot.follows]
        learned = iter(group_views(names, extras.rates, extras.decay_exclude))
        return tuple(Group(follows=slot.follows) if slot.follows else next(learned) for slot in slots)

    def at_threshold(self, threshold: float) -> "Blueprint":
        """The same with its operating point at a threshold that was chosen before."""
        return replace(self, metric_names=at_threshold(self.metric_names, threshold))

    def computer(self) -> LeafComputer:
        """A new computer of leaves, with memory of its own."""
        metrics = build_metrics(self.metric_names, self.loss.task, self.loss.quantiles)
        activity = watched(self.network.stages) if self.watches else None
        measuring = self.network, self.loss, metrics, self.seed, self._counts(), activity
        return LeafComputer(*measuring, self.micro_batch, self.dataset.targets.spread)

    @property
    def evaluation_rows(self) -> int:
        """Rows of a forward pass of an evaluation: part of the law, as products of other shapes may differ in bits."""
        return min(EVALUATION_ROWS, self.micro_batch or EVALUATION_ROWS)

    def _counts(self) -> Counts | None:
        if self.loss.task == "regression":
            width = self.loss.predicted_width(self.network.output_shape[-1])
            span, units = self.dataset.target_range, self.dataset.targets.units
            mean = units.mean[0] if units else 0.0
            return scatter_counts(span[0] - mean, span[1] - mean) if span and width == 1 else None
        classes = len(self.dataset.targets.classes or ())
        return confusion_counts(classes) if classes <= MOST_CLASSES else None

    @property
    def parameters(self) -> int:
        """Values in the arena."""
        return self.network.arena.size

    def tail_size(self, layout: TailLayout, split: str | None) -> int:
        """Values in a tail, receipt included: of an evaluation of `split`, or if None of a training round."""
        if split is None:
            return layout.width + LIMBS
        return layout.room(self.dataset.splits[split].plan.rows) + LIMBS

    @property
    def tables(self) -> tuple[tuple[int, int], ...]:
        """Of each table the rows that a step touches at most, and their width."""
        plan, network = self.dataset.train_plan, self.network
        rows = sum(plan.step_rows(shard) for shard in range(plan.shards))
        places = [network.tables[slot.name].places for slot in network.arena.tables]
        return tuple((rows * one, slot.shape[-1]) for one, slot in zip(places, network.arena.tables, strict=True))

    def pieces(self, servers: int) -> int:
        """How many slices a server owns: more than one where they are large and travel while others are made."""
        return max(1, min(MOST_PIECES, self.parameters // (servers * PIECE))) if servers > 1 else 1

    def starts(self, slices: int) -> tuple[int, ...]:
        """The first value of each of so many slices, or of what follows where it has none."""
        blocks, size = self.network.arena.blocks, self.parameters
        return tuple(
            blocks[chosen.start].start if chosen.start < len(blocks) else size for chosen in self.slices(slices)
        )

    def slices(self, servers: int) -> tuple[range, ...]:
        """The runs of blocks that `servers` slices are made of."""
        return cut([block.stop - block.start for block in self.network.arena.blocks], servers)
