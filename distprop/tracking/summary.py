"""What became of a job's records, for the final summary."""

from dataclasses import dataclass
from pathlib import Path

from distprop.tracking.spool import Spool


@dataclass(frozen=True)
class TrackingSummary:
    """What became of a job's records at the end. `spool` is None where none is left to send."""

    delivered: int
    spooled: int
    refused: int
    run_id: str | None
    model_uri: str | None
    spool: Path | None
    away: str = ""  # why the server was not reached, when last tried
    lost: int = 0  # records that neither server, disk nor memory had room for

    @property
    def gap(self) -> str:
        """Why the run is not whole; empty where it is."""
        why = [self.away or "tracking is slow"] if self.spooled else []
        why += [f"{self.refused} records were refused"] if self.refused else []
        why += [f"{self.lost} records are lost: the disk of the spool is full"] if self.lost else []
        return "; ".join(why)

    @property
    def word(self) -> str:
        """One sentence for the person; empty where there is nothing to say."""
        if self.spool is None:
            return ""
        why = "tracking is away" if self.away else "tracking is slow"
        name = self.run_id or self.spool.name
        return f"{why}: {self.spooled} records are kept in {self.spool}; send them with `distprop sync {name}`"


def sum_up(spool: Spool, all_sent: bool, away: str = "", lost: int = 0) -> TrackingSummary:
    """The summary of a spool as it is now."""
    state = spool.delivered
    unsaved = spool.unsaved if not all_sent else 0  # in the memory of a process that ends
    return TrackingSummary(
        delivered=state.records - state.refused,
        spooled=spool.records - state.records + len(state.aside) - unsaved,
        refused=state.refused,
        run_id=state.run_id or spool.job.run_id,
        model_uri=state.model_uri,
        spool=None if all_sent else spool.folder,
        away=away,
        lost=lost + unsaved,
    )
