"""The error tree. Every error says what happened, why, and what to do; and survives pickling.

DistpropError
├── UserError            the user's input was wrong: exit code 2
│   ├── ConfigError      the job file
│   ├── DataError        the Parquet data
│   ├── ShapeError       a model whose shapes do not fit
│   ├── AccessError      a file or folder that the operating system refuses
│   ├── AddressError     a cluster or tracking server that is not there
│   ├── CheckpointError  something that cannot be resumed from
│   └── TrustError       a file that wants to run code of a module that is not trusted
├── TrainingError        training failed: exit code 1
│   ├── LostError        a process that we cannot do without is gone
│   ├── FingerprintError a process whose arithmetic differs
│   └── DivergedError    loss became NaN or infinite
├── ResourceError        the machine has no disk, memory, open files or processes left: exit code 1
└── PlannedFault         a fault the job asked for, so that a real bug cannot pass for one
"""


class DistpropError(Exception):
    """Base of all our errors. Positional, so that pickle (hence Ray) can rebuild it."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return self.what + "".join(f"\n  {k}: {v}" for k, v in (("why", self.why), ("fix", self.fix)) if v)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.args == getattr(other, "args", None)

    def __hash__(self) -> int:
        return hash((type(self), self.args))


class UserError(DistpropError):
    """The user's input was wrong. The command line ends with exit code 2."""


class ConfigError(UserError):
    """The job file has an unknown key, a wrong type or values that contradict each other."""


class DataError(UserError):
    """The data is missing, empty, of the wrong type, or has values that cannot be trained on."""


class ShapeError(UserError):
    """A model whose shapes do not fit; names the layer and both shapes."""


class AccessError(UserError):
    """A file or folder that the operating system refuses: not there, no permission, read-only, of another kind."""


class AddressError(UserError):
    """A cluster or a tracking server that does not answer at its address."""


class CheckpointError(UserError):
    """A path that is no whole checkpoint, or a checkpoint of another recipe."""


class TrustError(UserError):
    """A model's or checkpoint's file that names a function of a module that the one who loads it does not trust."""


class TrainingError(DistpropError):
    """Training failed. The command line ends with exit code 1."""


class LostError(TrainingError):
    """A process that the job cannot do without is gone; names it and since when."""


class FingerprintError(TrainingError):
    """A process whose arithmetic gives other bits than the job's; says what differs."""


class DivergedError(TrainingError):
    """The loss became NaN or infinite; says in which step."""


class ResourceError(DistpropError):
    """The machine has run out of disk, memory, open files or processes. The command line ends with exit code 1."""


class PlannedFault(DistpropError):  # noqa: N818 - it is a fault, not an error
    """A fault that the job's `faults:` asked for."""
