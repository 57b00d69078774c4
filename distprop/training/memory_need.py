"""What memory a job takes, and whether this machine has it: asked before any of it is allocated."""

from distprop.data.shards import DataPlan
from distprop.errors import ConfigError
from distprop.nn.summary import LayerSummary
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.replica import slot_layout
from distprop.runtime.slice import slice_of
from distprop.training.assembling import Assembly
from distprop.training.machine_memory import machine_memory
from distprop.training.placing import Placement

VALUE, SUM, ID = 4, 8, 8  # bytes: a float32 of gradients, a float64 of tails, a row's number


def require_memory(assembly: Assembly, placement: Placement) -> int:
    """The bytes that one worker and one server take. Raises ConfigError where this machine can't hold even these."""
    if (shortage := memory_shortage(assembly, placement)) is not None:
        raise shortage
    return _least(assembly)


def memory_shortage(assembly: Assembly, placement: Placement) -> ConfigError | None:
    """The error of a job that cannot fit on this machine; None where it may, or runs on a cluster's machines."""
    memory = machine_memory() if placement.address is None else None
    need = _least(assembly)
    if memory is None or need <= memory.bytes:
        return None
    what, fix = _largest(assembly)
    return ConfigError(
        f"{what}; the job takes {need / 1e9:,.1f} GB of memory, and {memory.owner} has {memory.bytes / 1e9:,.1f} GB",
        f"one worker takes {worker_bytes(assembly) / 1e9:,.1f} GB for gradients and activations, and a server "
        f"{server_bytes(assembly.blueprint, 1) / 1e9:,.1f} GB for weights and {_states(assembly.blueprint)}",
        fix,
    )


def _states(blueprint: Blueprint) -> str:
    names = blueprint.optimizer.state_names
    state = f"{len(names)} values of state for each weight ({', '.join(names)})" if names else "no state"
    return f"the optimizer {blueprint.optimizer_name}, which has {state}"


def _least(assembly: Assembly) -> int:
    return worker_bytes(assembly) + server_bytes(assembly.blueprint, 1)


def _largest(assembly: Assembly) -> tuple[str, str]:
    """The layer that needs the most memory, in words, and what makes it less."""
    layers, rows = assembly.blueprint.network.summary(), rows_at_once(assembly)
    copies = _least_copies(assembly)

    def held(layer: LayerSummary) -> int:
        return rows * (layer.activation_bytes_per_row + layer.aside_bytes_per_row)

    largest = max(layers, key=lambda layer: held(layer) + copies * VALUE * layer.parameters)
    weights = copies * VALUE * largest.parameters
    if held(largest) > weights:
        return (
            f"layer {largest.name} has {held(largest) / 1e9:,.1f} GB of activations for {rows:,} rows",
            "make `data.batch_size` smaller, set `data.micro_batch_size`, or make the layer smaller",
        )
    lighter = ", or take an optimizer with less state (sgd)" if assembly.blueprint.optimizer.state_names else ""
    return (
        f"layer {largest.name} has {largest.parameters:,} parameters: {weights / 1e9:,.1f} GB with gradients and state",
        f"make the layer smaller{lighter}; machines with more memory are given by --address",
    )


def _least_copies(assembly: Assembly) -> int:
    """How many values are held for one parameter, by one worker and one server together."""
    depth = (assembly.dataset.train_plan.shards - 1).bit_length()
    return 4 + depth + 2 * len(assembly.blueprint.optimizer.state_names)


def largest_leaf(plan: DataPlan) -> int:
    """Rows that a shard has in a step at most: all of its own, where a batch is larger than the data."""
    return max(min(plan.step_rows(shard), plan.shard_rows(shard)) for shard in range(plan.shards))


def rows_at_once(assembly: Assembly) -> int:
    """Rows whose activations a worker holds, there and back, at most."""
    plan, valid = assembly.dataset.train_plan, assembly.dataset.valid_plan
    leaf = largest_leaf(plan)
    held_out = max((valid.shard_rows(shard) for shard in range(valid.shards)), default=0) if valid else 0
    blueprint = assembly.blueprint
    piece = min(leaf, blueprint.micro_batch or leaf)
    return max(2 * piece, min(held_out, blueprint.evaluation_rows))  # an evaluation goes forward only


def worker_bytes(assembly: Assembly) -> int:
    """Memory of a worker: 1 + the tree's depth sums with tails; activations of its largest batch, there and back.

    With micro-batches: of the largest of these, and a gradient more.
    """
    plan, blueprint = assembly.dataset.train_plan, assembly.blueprint
    depth = (plan.shards - 1).bit_length()
    leaf = largest_leaf(plan)
    piece = min(leaf, blueprint.micro_batch or leaf)
    layers = blueprint.network.summary()
    a_row = sum(layer.activation_bytes_per_row for layer in layers) + max(layer.aside_bytes_per_row for layer in layers)
    slots = slot_layout(blueprint)
    a_sum = VALUE * slots.values + SUM * slots.tail + sum(rows * (ID + VALUE * width) for rows, width in slots.tables)
    beside = VALUE * slots.values if piece < leaf else 0
    return a_sum * (1 + depth) + beside + rows_at_once(assembly) * a_row


def server_bytes(blueprint: Blueprint, servers: int) -> int:
    """Memory of a server: 2 versions of the weights, and of its largest slice the gradient and 2 versions of state."""
    arena, states = blueprint.network.arena, 2 * len(blueprint.optimizer.state_names)
    buffers = 2 if blueprint.optimizer.average is None else 3
    if servers == 1:  # without counting blocks, of which an impossible model has too many
        return VALUE * ((buffers + states) * arena.size + arena.gradient_size)
    spans = [slice_of(arena.blocks, chosen) for chosen in blueprint.slices(servers)]
    reduced = (min(span.stop, arena.gradient_size) - min(span.start, arena.gradient_size) for span in spans)
    slices = (states * (span.stop - span.start) + values for span, values in zip(spans, reduced, strict=True))
    return int(VALUE * (buffers * blueprint.parameters + max(slices)))
