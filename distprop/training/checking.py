"""Preflight: everything that a training of a job needs is tried, in seconds, and nothing is left behind."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from distprop import events
from distprop.config import Job, expand, load_job
from distprop.data.advice import advise
from distprop.errors import DistpropError
from distprop.files import Folder
from distprop.loops.playing import compiled
from distprop.nn.gradient_check import check_network
from distprop.numerics.canary import canary
from distprop.numerics.kernel import MARK, choose, cpu_features, environment, in_force
from distprop.numerics.verify import loaded_blas, verify_kernel
from distprop.report import CheckResult
from distprop.system_errors import explained, refusals
from distprop.training.assembling import Assembly, assemble
from distprop.training.clusters import connect
from distprop.training.describing import notes
from distprop.training.memory_need import VALUE, require_memory
from distprop.training.placing import Placement, available_cpus, callers_ray, place, require
from distprop.training.request import Request
from distprop.training.run_warnings import warnings_before

GRADIENT_ROWS = 8
GRADIENT_ERROR = 1e-6  # relative, in float64; a wrong gradient has 1e-3 and more
PROBE = ".distprop-check"


def check(
    job: str | Path | Mapping[str, Any] | Job,
    *,
    workers: int | None = None,
    servers: int | None = None,
    address: str | None = None,
    inline: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> list[CheckResult]:
    """Try what a training of the job needs: data, model, numerics, gradients, tracking, disk, cluster.

    Takes what `train` takes. Raises ConfigError where the job cannot be read; all else is in the results.
    """
    request = Request(load_job(job, overrides), workers, servers, address, inline, running=callers_ray(inline))
    kernel = request.job.numerics.blas_kernel
    if in_force(environment(kernel)):
        return check_here(request)
    from distprop.training.child import in_child

    results: list[CheckResult] = in_child("check", request, kernel)
    return results


def check_here(request: Request, listeners: Sequence[events.Listener] = ()) -> list[CheckResult]:  # noqa: ARG001
    """Check in this process. `listeners` hear nothing: no run begins."""
    job = request.job
    placement = place(job, request.workers, request.servers, request.address, request.inline, request.running)
    assembled: list[Assembly] = []
    results = [_tried("data and model", lambda: _data(job, assembled))]
    results += [_tried("arithmetic", lambda: _arithmetic(job))]
    for assembly in assembled:
        shortage = _tried("memory", lambda: _memory(assembly, placement))  # noqa: B023 - called at once
        results += [shortage]
        if not shortage.ok:
            break  # what does not fit is not tried
        results += [_tried("gradients", lambda: _gradients(assembly))]  # noqa: B023 - called at once
        results += _warnings(assembly, placement)
    results += [_tried("tracking", lambda: _tracking(job))]
    size = checkpoint_bytes(assembled[0]) if assembled else 0
    results += [_tried("checkpoints", lambda: _checkpoints(job, size))]
    return [*results, _tried("cluster", lambda: _cluster(placement))]


def _tried(name: str, look: Callable[[], str | CheckResult]) -> CheckResult:
    """The result of looking: what it found, or the error that it met."""
    try:
        found = look()
    except DistpropError as error:
        return CheckResult(name, False, f"{error.what} ({error.why})" if error.why else error.what, error.fix)
    except (OSError, MemoryError) as error:
        refused = explained(error, "the operating system refused what a training needs")
        return CheckResult(name, False, f"{refused.what} ({refused.why})", refused.fix)
    except Exception as error:  # whatever goes wrong is what a check is for
        return CheckResult(name, False, f"{type(error).__name__}: {error}", "run `distprop train --debug` to see where")
    return found if isinstance(found, CheckResult) else CheckResult(name, True, found)


def _data(job: Job, assembled: list[Assembly]) -> str:
    assembled.append(assemble(job))
    dataset, blueprint = assembled[0].dataset, assembled[0].blueprint
    plan = dataset.train_plan
    parts = [f"{plan.rows:,} rows in {plan.shards} shards"]
    parts += [f"{split.plan.rows:,} {name}" for name, split in dataset.splits.items() if name != "train"]
    parts += [f"{blueprint.parameters:,} parameters", f"{plan.steps_per_epoch:,} steps an epoch"]
    return ", ".join([*parts, f"{blueprint.last:,} in all"])


def _arithmetic(job: Job) -> str:
    kernel = choose(job.numerics.blas_kernel, cpu_features())
    verify_kernel(kernel)
    first, second = canary(), canary()
    if first != second:
        raise DistpropError(
            "the same computation gave two results", f"canaries {first[:12]} and {second[:12]}", "test this memory"
        )
    blas, updates = loaded_blas(), "compiled" if compiled() else "in NumPy (same bits, slower: no C compiler was there)"
    rest = f"updates {updates}, canary {first[:12]}"
    if blas is None:
        return f"NumPy without OpenBLAS: the same bits on this machine, not between machines; {rest}"
    return f"kernel {os.environ.get(MARK, kernel)}, OpenBLAS {blas['version']} on one thread, {rest}"


def _memory(assembly: Assembly, placement: Placement) -> str:
    need = require_memory(assembly, placement)
    return f"one worker and one server take {need / 1e9:,.3f} GB"


def _gradients(assembly: Assembly) -> str:
    """The job's own model and loss on rows of its own data, in float64."""
    batch = next(assembly.dataset.reader("train", 0).evaluation_batches(GRADIENT_ROWS))
    blueprint, rng = assembly.blueprint, np.random.default_rng(0)
    weights = batch.weights.astype(np.float64) if batch.weights is not None else None
    error = check_network(blueprint.network, blueprint.loss, batch.x, batch.y, rng, weights)
    if not error < GRADIENT_ERROR:
        raise DistpropError(
            f"a gradient is wrong: relative error {error:.1e}",
            "along a random direction it is not the difference of the loss's values",
            "if the features are very large or the model has many kinks, standardize them; otherwise report this",
        )
    return f"relative error {error:.0e} in float64, each parameter and the input"


def _warnings(assembly: Assembly, placement: Placement) -> Iterator[CheckResult]:
    """Fine, but: what trains slowly or badly."""
    for sentence in advise(assembly.dataset):
        yield CheckResult("files", True, sentence, "write the files again, where speed or quality count")
    for kind, what, fix in warnings_before(assembly):
        yield CheckResult(kind, True, what, fix)
    for sentence in notes(assembly, placement):
        yield CheckResult("plan", True, sentence, "see `distprop show` for the shards and their leaves")


def _tracking(job: Job) -> str | CheckResult:
    settings = job.tracking
    if not settings.enabled:
        return "off"
    if find_spec("mlflow") is None and settings.uri is None:
        fix = "pip install 'distprop-train[mlflow]'"
        return CheckResult("tracking", True, "MLflow is not installed: the run will not be tracked", fix)
    from distprop.tracking.address import resolve_uri, without_secrets
    from distprop.training.recording import preflight

    address = resolve_uri(expand(settings.uri) if settings.uri else None)
    preflight(job)
    return f"{without_secrets(address.uri)} ({address.source})"


def checkpoint_bytes(assembly: Assembly) -> int:
    """What all checkpoints that are kept take, and the one that is being written."""
    keeps = assembly.job.checkpoint.keep_last + (assembly.criteria.keep_best is not None) + 1
    size = VALUE * assembly.blueprint.parameters * (1 + len(assembly.blueprint.optimizer.state_names))
    return size * keeps * assembly.job.train.starts


def _checkpoints(job: Job, size: int) -> str:
    base = expand(job.checkpoint.dir) if job.checkpoint.dir else "checkpoints"
    with refusals(f"checkpoints cannot be written to {base}"):
        return _room(base, size)


def _room(base: str, size: int) -> str:
    if "://" in base:
        store = Folder(base)
        store.write(PROBE, b"")
        store.delete(PROBE)
        return f"{base} takes files"
    place = Path(base).resolve()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    with tempfile.TemporaryFile(dir=there):  # nothing is made where nothing was
        free = shutil.disk_usage(there).free
    if free < size:
        raise DistpropError(
            f"{place} has room for {free / 1e6:,.0f} MB",
            f"the checkpoints that are kept take {size / 1e6:,.0f} MB",
            "name another `checkpoint.dir`, or keep fewer with `checkpoint.keep_last`",
        )
    return f"{place} has {free / 1e9:,.1f} GB free, {size / 1e6:,.1f} MB are needed"


def _cluster(placement: Placement) -> str | CheckResult:
    wanted = f"{placement.workers} workers"
    if placement.inline:
        return f"inline: {wanted} in this process, no cluster"
    require("ray", "ray", "train in this process with --inline")
    if placement.address is None:
        cpus = available_cpus()
        found = f"a local Ray of our own for {wanted} on {cpus} CPUs"
        slow = "they share CPUs: fewer workers are as fast"
        return CheckResult("cluster", True, found, slow) if placement.workers > cpus else found
    connection = connect(placement)
    try:
        nodes = connection.nodes
    finally:
        connection.close()
    cpus = int(sum(node.cpus for node in nodes))
    return f"{placement.address} ({placement.source}): {len(nodes)} hosts, {cpus} CPUs for {wanted}"
