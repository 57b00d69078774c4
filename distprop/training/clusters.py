"""Opens the cluster that a placement asks for."""

from distprop.runtime.inline import InlineCluster
from distprop.runtime.session import Cluster
from distprop.training.assembling import Assembly
from distprop.training.placing import Placement, require


def open_cluster(assembly: Assembly, placement: Placement, folder: str, kernel: str) -> Cluster:
    """Start the job's servers and workers. Raises UserError where the cluster cannot hold them."""
    if placement.inline:
        homes = [worker * placement.servers // placement.workers for worker in range(placement.workers)]
        return InlineCluster(assembly.blueprint, folder, placement.servers, homes)
    require("ray", "ray", "train in this process with --inline")
    from distprop.runtime.ray.connecting import settle_environment

    settle_environment()
    from distprop.runtime.ray.cluster import RayCluster

    return RayCluster.start(
        assembly.blueprint,
        folder,
        kernel,
        address=placement.address,
        workers=placement.workers,
        servers=placement.servers,
        patience=assembly.job.cluster.patience_seconds,
    )
