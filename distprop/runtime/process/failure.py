"""What a process says of an error that it met: the job must hear of it, whatever it was."""

from distprop.errors import DistpropError
from distprop.protocol.messages import Address, Failed


def failure(me: Address, error: Exception) -> Failed:
    """An error of ours as it is; of any other its kind, where it happened and its text."""
    if not isinstance(error, DistpropError):
        error = DistpropError(f"{type(error).__name__} in {me.role} {me.number}", str(error))
    return Failed(me, error)
