"""Did-you-mean: the sentence that an error about an unknown name ends with."""

from collections.abc import Iterable
from difflib import get_close_matches


def closest(name: str, known: Iterable[str]) -> str | None:
    """The name of `known` that looks most like `name`, or None where none does."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def suggest_name(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A fix for the unknown `name`: "did you mean `adamw`?", or else the list of what is known.

    `prefix` is put in front of the guess, so that a key can be shown with its path.
    """
    names = sorted(known)
    guess = closest(name, names)
    if guess is not None:
        return f"did you mean `{prefix}{guess}`?"
    return f"use one of: {', '.join(names)}" if names else ""
