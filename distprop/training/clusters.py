"""Opens what a placement asks for: a connection to Ray, or none, and the job's processes."""

import logging
from typing import TYPE_CHECKING, Any

from distprop.config import expand
from distprop.config.sections import Tls
from distprop.data.survey import SurveyMap
from distprop.numerics.kernel import environment
from distprop.runtime.inline import InlineCluster
from distprop.runtime.session import Cluster
from distprop.training.assembling import Assembly
from distprop.training.placing import Placement, available_cpus, require

if TYPE_CHECKING:
    from distprop.runtime.wire.seal import Credentials


def connect(placement: Placement) -> Any:
    """A connection to the cluster (distprop.runtime.ray.connecting.Connection); None where the job runs inline.

    Raises UserError where the cluster cannot be reached or has too few CPUs.
    """
    if placement.inline:
        return None
    require("ray", "ray", "train in this process with --inline")
    from distprop.runtime.ray.connecting import connect as reach

    cpus, workers = available_cpus(), placement.workers
    if placement.address is None and workers > cpus:
        text = "%d workers share %d cores: the numbers are the same, the speed is that of the cores"
        logging.getLogger("distprop").warning(text, workers, cpus)
    connection = reach(placement.address, max(cpus, workers))
    try:
        connection.afford(workers, placement.fewest or workers)
    except BaseException:
        connection.close()
        raise
    return connection


def survey_map(connection: Any, placement: Placement, kernel: str) -> SurveyMap:
    """Where rows are looked through before training: on an existing cluster, else here."""
    if connection is None or placement.address is None:
        return map
    mapping: SurveyMap = connection.mapping(environment(kernel))
    return mapping


def open_cluster(
    connection: Any, assembly: Assembly, placement: Placement, folder: str, kernel: str, profile: bool = False
) -> Cluster:
    """Start the job's servers and workers. Raises UserError, LostError, FingerprintError."""
    if connection is None:
        homes = [worker * placement.servers // placement.workers for worker in range(placement.workers)]
        return InlineCluster(assembly.blueprint, folder, placement.servers, homes, profile=profile)
    from distprop.runtime.ray.cluster import RayCluster

    patience = assembly.job.cluster.patience_seconds
    credentials = _credentials(assembly.job.wire.tls)
    cluster = RayCluster(connection, assembly.blueprint, folder, kernel, patience, profile, credentials)
    return cluster.start(placement.workers, placement.servers, placement.fewest)


def _credentials(tls: bool | Tls) -> "Credentials | None":
    """What connections between hosts are sealed with: nothing, a certificate of the job's own, or the user's.

    Raises UserError where they cannot be used here, before any process is started.
    """
    from distprop.runtime.wire.certificate import new_credentials
    from distprop.runtime.wire.seal import Credentials, context_of

    if isinstance(tls, Tls):
        certificate = expand(tls.certificate)
        given = Credentials(certificate, expand(tls.key), expand(tls.authority) if tls.authority else certificate)
        context_of(given, host=False)
        return given
    return new_credentials() if tls else None
