"""What a caller asks of training, as plain values that can be handed to another process."""

from dataclasses import dataclass
from typing import Any, Literal

from distprop.config import Job

Resume = Literal["auto", "never", "must"]


@dataclass(frozen=True)
class Request:
    """A training to be run. `checkpoint`: go on from exactly this one, whatever the run key says."""

    job: Job
    workers: int | None = None
    servers: int | None = None
    address: str | None = None
    inline: bool = False
    data: Any = None
    run_key: str | None = None
    resume: Resume = "never"
    checkpoint: str | None = None
    dry_run: bool = False
    profile: bool = False
    running: str | None = None  # the address of the Ray that the caller's process has connected to
