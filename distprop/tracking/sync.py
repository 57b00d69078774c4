"""Sends later what a job could not send while it ran."""

import time
from collections.abc import Callable
from pathlib import Path

from distprop.errors import AddressError
from distprop.tracking.address import without_secrets
from distprop.tracking.delivery import Delivery
from distprop.tracking.records import end, tags
from distprop.tracking.spool import Spool
from distprop.tracking.store import Gone, MlflowStore, Store
from distprop.tracking.summary import TrackingSummary, sum_up


def sync(spool: str | Path, store_for: Callable[[str], Store] = MlflowStore) -> TrackingSummary:
    """Send what a job that is over left in its spool, the folder `spool`, and remove the spool.

    A run whose process died before it could say how it ended is set to KILLED. Raises CheckpointError where this is
    no spool or its job still runs, AddressError where the server is away: what it did not get is kept.
    """
    queue = Spool.open(Path(spool))
    try:
        _deliver(Delivery(queue, store_for(queue.job.uri)))
    except (AddressError, Gone) as error:  # they say what to do
        queue.close()
        raise AddressError(error.what, error.why, f"{error.fix}; the records are kept") from error
    except Exception as error:
        queue.close()
        raise AddressError(
            f"the tracking server at {without_secrets(queue.job.uri)} does not take the records",
            without_secrets(" ".join(str(error).split()))[:300],
            "they are kept: start the server and call `distprop sync` again",
        ) from error
    queue.close(remove=True)
    return sum_up(queue, all_sent=True)


def _deliver(delivery: Delivery) -> None:
    queue = delivery.spool
    delivery.deliver_all()
    delivery.deliver_aside()
    if not queue.delivered.ended:
        queue.append(tags({"distprop.status": "interrupted", "distprop.why": "the process died"}))
        queue.append(end("interrupted", time.time()))
        delivery.deliver_all()
