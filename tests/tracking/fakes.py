"""A tracking server in memory that can be away, slow or fussy."""

from collections import Counter
from threading import Event

from distprop.tracking.store import Point, Refused, Run


class FakeStore:
    def __init__(self):
        self.away = False
        self.lose_answers = 0  # so many requests are carried out and then fail
        self.cannot_draw = False
        self.refuses = ""  # a metric that is refused
        self.gate = Event()  # requests wait for it
        self.gate.set()
        self.runs = {}  # token -> run id
        self.points, self.tags, self.given, self.texts = [], {}, {}, {}
        self.datasets, self.pictures, self.models, self.linked, self.status = [], [], [], [], None
        self.calls = Counter()

    def _asked(self, name):
        self.gate.wait(30)
        self.calls[name] += 1
        if self.away:
            raise ConnectionError("nobody is there")

    def _answered(self):
        if self.lose_answers:
            self.lose_answers -= 1
            raise TimeoutError("the answer was lost")

    def connect(self, job, run_id):
        self._asked("connect")
        existed = run_id is not None or job.token in self.runs
        self.status = "RUNNING"
        return Run(self.runs.setdefault(job.token, run_id or f"run-{len(self.runs)}"), existed)

    def log(self, _run_id, metrics, tags):
        self._asked("log")
        if any(point.metric == self.refuses for point in metrics):
            raise Refused("no such metric, please")
        self.points += [point for point in metrics if point not in self.points]
        self.tags.update(tags)
        self._answered()

    def params(self, _run_id, params):
        self._asked("params")
        self.given.update(params)

    def inputs(self, _run_id, datasets):
        self._asked("inputs")
        self.datasets += list(datasets)

    def text(self, _run_id, name, text):
        self._asked("text")
        self.texts[name] = text

    def picture(self, _run_id, record):
        self._asked("picture")
        if self.cannot_draw:
            raise RuntimeError("no pencil")
        self.pictures.append(record["picture"])

    def model(self, _run_id, folder, version, digest):
        self._asked("model")
        self.models.append((folder, version, digest))
        return "models:/m-1"

    def link(self, _run_id, model_uri, metrics):
        self._asked("link")
        self.linked.append((model_uri, [Point(*point) for point in metrics]))

    def end(self, _run_id, status, _time):
        self._asked("end")
        self.status = status

    def last_step(self, _run_id, metric):
        self._asked("last_step")
        return max((point.step for point in self.points if point.metric == metric), default=-1)

    def curve(self, metric):
        return [(point.step, point.value) for point in self.points if point.metric == metric]
