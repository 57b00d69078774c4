"""The numerics environment: the BLAS kernel counts from the moment NumPy loads, so the process starts anew with it."""

import os


def ready(kernel: str) -> None:
    """Return where this process computes with `kernel`; otherwise replace it by one that does.

    The new process runs the same command, with the environment that the kernel needs set over whatever the shell
    presets. Nothing must have happened yet that cannot happen twice.
    """
    from distprop.numerics.kernel import environment, reexecute_with

    reexecute_with(environment(kernel))


def ready_for_most() -> None:
    """In the first process of a command: be ready for "auto", which nearly all jobs want.

    To be called before a job is read: whatever is imported for that would have to be imported twice.
    """
    from distprop.numerics.kernel import MARK

    if MARK not in os.environ:
        ready("auto")
