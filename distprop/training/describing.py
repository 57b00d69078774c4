"""What a job is, before anything runs: its layers, sizes, memory and shards, and what one should know of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distprop.config import Job, load_job
from distprop.data.shards import DataPlan
from distprop.nn.summary import LayerSummary
from distprop.report import Description, LayerRow, ShardRow
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.replica import slot_layout
from distprop.runtime.slice import slice_of
from distprop.training.assembling import Assembly, assemble
from distprop.training.placing import Placement, place

VALUE, SUM, ID = 4, 8, 8  # bytes: a float32 of gradients, a float64 of tails, a row's number
LARGE_TABLE = 10  # rows for each id of a step, from which on a dense gradient costs more (measured)
SMALL_LEAF = 32  # rows
LEAF_OVERHEAD = 20  # rows that a leaf costs beside its own: measured with dense layers of 128 to 1024 on AVX-512


def describe(
    job: str | Path | Mapping[str, Any] | Job, overrides: Mapping[str, Any] | Sequence[str] = ()
) -> Description:
    """Describe a job: a config's path, a mapping with its keys, or a Job. Opens and surveys its data, runs nothing.

    Raises UserError for whatever does not fit.
    """
    loaded = load_job(job, overrides)
    assembly = assemble(loaded)
    placement = place(loaded, None, None, None, inline=False)
    blueprint, plan = assembly.blueprint, assembly.dataset.train_plan
    layers = blueprint.network.summary()
    flops = sum(layer.flops_per_row for layer in layers)
    return Description(
        name=loaded.name,
        config=loaded.to_yaml(),
        recipe_hash=assembly.job.recipe_hash(),
        input_shape=assembly.dataset.input_shape,
        layers=tuple(map(_layer_row, layers)),
        parameters=blueprint.parameters,
        flops_per_row=flops,
        flops_per_step=flops * plan.rows_in_step(0),
        worker_bytes=worker_bytes(assembly),
        server_bytes=server_bytes(blueprint, max(placement.servers, 1)),
        train_rows=plan.rows,
        valid_rows=_rows(assembly.dataset.valid_plan),
        test_rows=_rows(assembly.dataset.test_plan),
        shards=tuple(_shard_row(plan, shard) for shard in range(plan.shards)),
        steps_per_epoch=plan.steps_per_epoch,
        last_version=blueprint.last,
        workers=placement.workers,
        servers=max(placement.servers, 1),
        starts=loaded.train.starts,
        notes=tuple(notes(assembly, placement)),
    )


def worker_bytes(assembly: Assembly) -> int:
    """Memory of a worker: 1 + the tree's depth sums with tails; activations of its largest batch, there and back.

    With micro-batches: of the largest of these, and a gradient more.
    """
    plan, valid = assembly.dataset.train_plan, assembly.dataset.valid_plan
    depth = (plan.shards - 1).bit_length()
    leaf = max(plan.step_rows(shard) for shard in range(plan.shards))
    held_out = max((valid.shard_rows(shard) for shard in range(valid.shards)), default=0) if valid else 0
    blueprint = assembly.blueprint
    piece = min(leaf, blueprint.micro_batch or leaf)
    rows = max(2 * piece, min(held_out, blueprint.evaluation_rows))  # an evaluation goes forward only
    layers = blueprint.network.summary()
    a_row = sum(layer.activation_bytes_per_row for layer in layers) + max(layer.aside_bytes_per_row for layer in layers)
    slots = slot_layout(blueprint)
    a_sum = VALUE * slots.values + SUM * slots.tail + sum(rows * (ID + VALUE * width) for rows, width in slots.tables)
    beside = VALUE * slots.values if piece < leaf else 0
    return a_sum * (1 + depth) + beside + rows * a_row


def server_bytes(blueprint: Blueprint, servers: int) -> int:
    """Memory of a server: 2 versions of the weights, and of its largest slice the gradient and 2 versions of state."""
    arena, states = blueprint.network.arena, 2 * len(blueprint.optimizer.state_names)
    spans = [slice_of(arena.blocks, chosen) for chosen in blueprint.slices(servers)]
    reduced = (min(span.stop, arena.gradient_size) - min(span.start, arena.gradient_size) for span in spans)
    slices = (states * (span.stop - span.start) + values for span, values in zip(spans, reduced, strict=True))
    buffers = 2 if blueprint.optimizer.average is None else 3
    return int(VALUE * (buffers * blueprint.parameters + max(slices)))


def notes(assembly: Assembly, placement: Placement) -> Iterator[str]:
    """What one should know before training: the price of small leaves, workers that cannot help, columns left out."""
    plan, left_out = assembly.dataset.train_plan, assembly.dataset.left_out
    yield from _few_rows(assembly)
    if placement.workers > plan.shards:
        yield (
            f"{placement.workers} workers for {plan.shards} shards: "
            f"{placement.workers - plan.shards} of them will have nothing to do"
        )
    yield from _large_tables(assembly)
    if left_out:
        yield f"`data.features: all` leaves out what it cannot use: {', '.join(left_out)}"


def _few_rows(assembly: Assembly) -> Iterator[str]:
    """What small leaves and micro-batches cost."""
    plan, size = assembly.dataset.train_plan, assembly.blueprint.micro_batch
    leaves = [plan.step_rows(shard) for shard in range(plan.shards)]
    rows, what = min(leaves), "leaf"
    if size is not None and size < rows:
        rows, what = size, "micro-batch"
    elif size is not None and size >= max(leaves):
        yield f"no leaf has more than {max(leaves)} rows: `data.micro_batch_size: {size}` divides none"
    if rows >= SMALL_LEAF:
        return
    price = f"a row costs about {1 + LEAF_OVERHEAD / rows:.1f} times what it costs in a leaf of some hundred"
    if what == "leaf":
        yield (
            f"leaves have {rows} rows: {price} (measured); "
            "a larger `data.batch_size` or fewer `data.shards` make larger leaves, and other numbers"
        )
    else:
        yield f"micro-batches have {rows} rows: {price}; larger ones need more memory, and give other numbers"
    if any(slot.follows for slot in assembly.blueprint.network.arena.slots):
        yield (
            f"`batch_norm` normalizes each {what} by its own {rows} rows, and of so few moments are noisy: "
            f"make {'leaves' if what == 'leaf' else 'them'} larger, or take `layer_norm` or `group_norm`"
        )


def _large_tables(assembly: Assembly) -> Iterator[str]:
    """Which embeddings have so many rows that sending all of their gradients costs more than the touched ones."""
    for stage in assembly.blueprint.network.stages:
        ids = math.prod(stage.input_shape) * assembly.dataset.train_plan.rows_in_step(0)
        if not stage.layer.tables(stage.input_shape) and stage.layer.ids > LARGE_TABLE * ids:
            yield (
                f"{stage.name} has {stage.layer.ids:,} rows, of which a step touches {ids:,} at most: with "
                "`sparse: true` it sends and updates these alone (other numbers with most optimizers)"
            )


def _rows(plan: DataPlan | None) -> int:
    return plan.rows if plan is not None else 0


def _layer_row(layer: LayerSummary) -> LayerRow:
    return LayerRow(
        name=layer.name,
        kind=layer.kind,
        output_shape=layer.output_shape,
        parameters=layer.parameters,
        flops_per_row=layer.flops_per_row,
        activation_bytes_per_row=layer.activation_bytes_per_row,
    )


def _shard_row(plan: DataPlan, shard: int) -> ShardRow:
    return ShardRow(shard, plan.shard_rows(shard), plan.steps(shard), plan.step_rows(shard))
