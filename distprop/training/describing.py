"""What a job is, before anything runs: its layers, sizes, memory and shards, and what one should know of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distprop.config import Job, load_job
from distprop.data.shards import DataPlan
from distprop.nn.summary import LayerSummary
from distprop.report import Description, LayerRow, ShardRow
from distprop.training.assembling import Assembly, assemble
from distprop.training.memory_need import memory_shortage, server_bytes, worker_bytes
from distprop.training.placing import Placement, place

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


def notes(assembly: Assembly, placement: Placement) -> Iterator[str]:
    """What one should know before training: the price of small leaves, workers that cannot help, columns left out."""
    plan, left_out = assembly.dataset.train_plan, assembly.dataset.left_out
    if (shortage := memory_shortage(assembly, placement)) is not None:
        yield f"{shortage.what}: {shortage.fix}"
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
