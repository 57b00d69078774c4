"""What Ray's actors and tasks answer, and what is raised where they do not."""

from typing import Any

import ray

from distprop.errors import DistpropError, LostError

IN_ITS_INIT = "error raised in its creation task"  # Ray's words for an exception in an actor's `__init__`


def answer_of(asked: Any, timeout: float | None = None) -> Any:
    """The answer, after at most `timeout` seconds.

    Raises our own errors as they were raised there; LostError where the process died, met an error of the operating
    system, as where another one that it wants to reach is gone, or did not answer in time.
    """
    try:
        return ray.get(asked, timeout=timeout)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OSError):
            raise LostError("a process of the job failed", str(error.cause), "see the logs of Ray") from error
        raise own_error(error) from error
    except ray.exceptions.GetTimeoutError as error:
        raise LostError("a process of the job did not answer", f"it was given {timeout:.0f} seconds") from error
    except ray.exceptions.RayError as error:
        if IN_ITS_INIT in str(error):  # the next one would meet it, too
            raise own_error(error) from error
        raise LostError("a process of the job ended", _last_line(error), "see the logs of Ray") from error


def own_error(error: Any) -> Exception:
    """The error of ours that an error of Ray carries, or one that says what it was."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, DistpropError):
        return cause
    return DistpropError("a process of the job failed", _last_line(error), "see the logs of Ray")


def _last_line(error: Any) -> str:
    """The line that says what happened: the last one of Ray's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
