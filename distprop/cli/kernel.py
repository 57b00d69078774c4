"""The numerics environment: the BLAS kernel counts from the moment NumPy loads, so the process starts anew with it."""


def ready(kernel: str) -> None:
    """Return where this process computes with `kernel`; otherwise replace it by one that does.

    The new process runs the same command, with the environment that the kernel needs set over whatever the shell
    presets. Nothing must have happened yet that cannot happen twice.
    """
    from distprop.numerics.kernel import environment, reexecute_with

    reexecute_with(environment(kernel))
