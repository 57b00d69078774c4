"""Several starts of one job, as a table."""

import csv
import io
from collections.abc import Sequence

from distprop.events import StartEnded

HEAD = ("start", "seed", "status", "steps", "digest", "run", "why")


def comparison(starts: Sequence[StartEnded]) -> str:
    """The starts as CSV, one a line; the metric that they are compared by comes first of all metrics."""
    names = {name for one in starts for name in one.metrics}
    columns = sorted(names, key=lambda name: (name != starts[0].compared_by, name))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*HEAD, *columns))
    for one in starts:
        about = (one.start, one.seed, one.status, one.version, one.digest, one.run_id, one.why)
        writer.writerow((*about, *(one.metrics.get(name) for name in columns)))
    return text.getvalue()
