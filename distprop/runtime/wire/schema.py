"""All that one process may say to another, field by field. What is not listed here is neither sent nor heard."""

import numpy as np

from distprop import errors
from distprop.checkpoint import Part
from distprop.errors import DistpropError
from distprop.nn.rows import Touched
from distprop.protocol import messages
from distprop.protocol.course import Course, Round
from distprop.protocol.messages import Address
from distprop.protocol.plan import Plan
from distprop.protocol.tree import Node
from distprop.runtime.memory import Arrived, Published, Slot
from distprop.runtime.process.gauges import Alive, Gauge, Sample
from distprop.runtime.process.orders import Kill
from distprop.runtime.process.parcel import Parcel
from distprop.runtime.timeline import Span, Spans
from distprop.runtime.wire.kinds import Array, Choice, In, Many, Maybe, Number, Out, Record, Row, Table, Text, choice

WHOLE, REAL, TRUTH, TEXT = Number("q"), Number("d"), Number("?"), Text()

ERRORS = {name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, DistpropError)}
"""The errors that travel: those of distprop.errors, by their names."""


class Error:
    """An error of ours: its name and its three sentences."""

    def write(self, value: BaseException, out: Out) -> None:
        """One of another class as the nearest that it is a case of."""
        kind = next((one for one in type(value).__mro__ if ERRORS.get(one.__name__) is one), DistpropError)
        said = value.args if isinstance(value, DistpropError) else (str(value),)
        for text in (kind.__name__, *(str(one) for one in (*said, "", "", "")[:3])):
            TEXT.write(text, out)

    def read(self, source: In) -> DistpropError:
        """The error."""
        kind = ERRORS[TEXT.read(source)]
        return kind(TEXT.read(source), TEXT.read(source), TEXT.read(source))


VALUES, SUMS, IDS = Array(np.float32, 1), Array(np.float64, 1, 2), Array(np.int64, 1)
TAIL = Array(np.float64, 1)
ROUND = Record(Round, version=WHOLE, kind=WHOLE)
NODE = Record(Node, level=WHOLE, place=WHOLE)
ADDRESS = Record(Address, role=TEXT, number=WHOLE)
SLOT = Record(Slot, worker=WHOLE, slot=WHOLE)
TOUCHED = Record(Touched, ids=IDS, rows=Array(np.float32, 2))
ARRIVED = Record(Arrived, gradient=VALUES, tail=TAIL, rows=Many(TOUCHED))
PUBLISHED = Record(Published, weights=VALUES, tables=Many(TOUCHED))
WEIGHTS = Choice({np.ndarray: Array(np.float32, 1, 2), Published: PUBLISHED})
SPAN = Record(Span, name=TEXT, start=REAL, stop=REAL)


PARTS = Many(Row(NODE, choice(SLOT, ARRIVED)))
COURSE = Record(
    Course,
    steps=Many(WHOLE),
    last=WHOLE,
    held_out=Many(TRUTH),
    evaluate_every=WHOLE,
    save_every=WHOLE,
    diagnose_every=WHOLE,
    clips=TRUTH,
    keeps=TRUTH,
    split=TEXT,
)
PLAN = Record(Plan, number=WHOLE, attempt=WHOLE, owners=Many(WHOLE), homes=Table(WHOLE, WHOLE), slices=Many(WHOLE))
FILE = Record(Part, file=TEXT, start=WHOLE, stop=WHOLE, sha256=TEXT, blocks=Many(TEXT))

MESSAGE = choice(
    # from the coordinator
    Record(
        messages.Open,
        attempt=WHOLE,
        course=COURSE,
        first=ROUND,
        servers=WHOLE,
        source=Maybe(TEXT),
        factor=REAL,
        pieces=WHOLE,
    ),
    Record(messages.Assign, plan=PLAN),
    Record(messages.Verdict, attempt=WHOLE, version=WHOLE, stop=TRUTH, factor=REAL, save=TRUTH),
    Record(messages.Halt, attempt=WHOLE, version=WHOLE),
    Record(messages.Heard, attempt=WHOLE, round=ROUND, saved=WHOLE),
    Record(Kill, worker=WHOLE),
    # between a server and its workers
    Record(messages.Begin, attempt=WHOLE, round=ROUND),
    Record(messages.Contribute, attempt=WHOLE, round=ROUND, worker=WHOLE, parts=PARTS),
    Record(messages.Early, attempt=WHOLE, round=ROUND, worker=WHOLE, node=NODE, handle=SLOT, slice=WHOLE),
    Record(Gauge, worker=WHOLE, seconds=REAL, waited=REAL),
    # between servers
    Record(messages.Push, attempt=WHOLE, round=ROUND, server=WHOLE, slice=WHOLE, parts=PARTS),
    Record(messages.Norms, attempt=WHOLE, round=ROUND, slice=WHOLE, sums=SUMS),
    Record(messages.Publish, attempt=WHOLE, version=WHOLE, slice=WHOLE, weights=WEIGHTS, sums=SUMS),
    # to the coordinator
    Record(messages.Joined, worker=WHOLE, server=WHOLE),
    Record(messages.Gone, worker=WHOLE, server=WHOLE, why=TEXT),
    Record(messages.Failed, who=ADDRESS, error=Error()),
    Record(messages.Opened, attempt=WHOLE, server=WHOLE),
    Record(messages.Gathered, attempt=WHOLE, round=ROUND, tail=TAIL, sums=Maybe(Table(WHOLE, SUMS)), time=REAL),
    Record(
        Parcel,
        attempt=WHOLE,
        versions=Many(WHOLE),
        tails=Array(np.float64, 2),
        sums=Table(WHOLE, Array(np.float64, 2, 3)),
        times=Many(REAL),
    ),
    Record(messages.Stands, attempt=WHOLE, server=WHOLE, version=WHOLE, halted=TRUTH),
    Record(messages.Saved, attempt=WHOLE, server=WHOLE, version=WHOLE, files=Maybe(Many(FILE)), why=TEXT),
    Record(Alive, waiting=REAL),
    Record(Sample, host=TEXT, figures=Table(TEXT, REAL)),
    Record(Spans, who=ADDRESS, spans=Many(SPAN), layers=Many(SPAN), seconds=Table(TEXT, Table(TEXT, REAL))),
)
"""A message. The numbers of the types are their places here: both ends of a connection run the same distprop."""
