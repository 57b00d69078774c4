"""A process of its own, with the environment of its own, that does what it is asked: python -m benchmarks.child FD.

It calls a function (connection, *arguments); that function talks over the connection until it is told to stop (None).
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from socket import socketpair
from typing import Any

from distprop.numerics.kernel import environment

OURS = (*environment("auto"), "OMP_PROC_BIND", "KMP_AFFINITY")
"""Variables that steer arithmetic: a child gets those that it is given, and no others of them."""

Work = Callable[..., None]


class Child:
    """A running child. `fds` are descriptors that it inherits, under the same numbers; `prefix` starts its command."""

    def __init__(
        self,
        work: Work,
        *arguments: Any,
        settings: Mapping[str, str],
        fds: Sequence[int] = (),
        prefix: Sequence[str] = (),
        patience: float = 600.0,
    ) -> None:
        ours, theirs = socketpair()
        self._patience, self._name = patience, work.__name__
        kept = {key: value for key, value in os.environ.items() if key not in OURS}
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "benchmarks.child", str(theirs.fileno())],
            env={**kept, **settings},
            pass_fds=(theirs.fileno(), *fds),
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._connection.send((work.__module__, work.__qualname__, arguments))

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def tell(self, message: Any) -> None:
        """Ask for something; `hear` gives the answer."""
        self._connection.send(message)

    def hear(self) -> Any:
        """The next answer. Raises RuntimeError where the child died or says nothing for too long."""
        if not self._connection.poll(self._patience):
            raise RuntimeError(f"{self._name} said nothing for {self._patience:.0f} seconds")
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError(f"{self._name} ended with exit code {self._process.wait()}") from None

    def ask(self, message: Any) -> Any:
        """Tell and hear."""
        self.tell(message)
        return self.hear()

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._connection.send(None)
        self._connection.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def ask_all(children: Sequence[Child], message: Any) -> list[Any]:
    """Tell all of them, then hear all of them: they work at the same time."""
    for child in children:
        child.tell(message)
    return [child.hear() for child in children]


def kernel_settings(kernel: str = "auto") -> dict[str, str]:
    """The environment of a process that computes as distprop's do."""
    return environment(kernel)


def torch_settings() -> dict[str, str]:
    """The environment that suits PyTorch best: one thread, everything else its own choice."""
    return {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    """Do the work that the parent names."""
    connection = Connection(int(sys.argv[1]))
    module, name, arguments = connection.recv()
    with suppress(EOFError, BrokenPipeError):  # the parent is gone
        getattr(import_module(module), name)(connection, *arguments)


if __name__ == "__main__":
    main()
