"""The Ray that the caller's own code has connected to, before it asked for a training."""

import sys

from distprop.errors import UserError


def caller_address() -> str | None:
    """Where the head of the cluster listens that this process is a driver, task or actor of; None without any.

    Imports nothing: who has not imported Ray has connected to none. Raises UserError where no other process can connect
    in the same way.
    """
    ray = sys.modules.get("ray")
    if ray is None or not hasattr(ray, "is_initialized") or not ray.is_initialized():
        return None
    client = sys.modules.get("ray.util.client")
    if client is not None and client.ray.is_connected():
        raise UserError(
            "this process is connected to Ray through a ray:// address",
            "a training has a process of its own, which connects to the cluster's head itself",
            "call ray.shutdown() first and give `address`, HOST:6379, or submit the script with `ray job submit`",
        )
    return str(ray.get_runtime_context().gcs_address)
