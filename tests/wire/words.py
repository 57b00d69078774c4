"""Messages that say a word, or bring arrays, for tests that look at how they travel."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distprop.protocol.course import TRAIN, Round
from distprop.protocol.messages import Gone, Push
from distprop.protocol.tree import Node
from distprop.runtime.memory import Arrived


def word(text: object) -> Gone:
    """A message that says it."""
    return Gone(0, 0, str(text))


def text_of(message: Any) -> Any:
    """What such a message says; another message as it is."""
    return message.why if isinstance(message, Gone) else message


def letter(number: int, arrays: Sequence[Any]) -> Push:
    """A message that brings arrays of float32 with one axis each."""
    return Push(
        number, Round(0, TRAIN), 0, 0, tuple((Node(0, at), Arrived(one, np.ones(2))) for at, one in enumerate(arrays))
    )


def arrays_of(message: Push) -> list[Any]:
    """The arrays of such a message."""
    return [part.gradient for _, part in message.parts]
