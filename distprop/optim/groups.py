"""Groups: what the name of a parameter changes in its update."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from distprop.errors import ConfigError
from distprop.suggest import closest

NAMED = 12
"""Names of parameters that an error lists."""


class Group(NamedTuple):
    """Factors of the learning rate and of weight decay, the same for all values of a view.

    follows: of running statistics, the share by which they move to the batch's at each step; 0 for what is learned.
    """

    rate: float = 1.0
    decay: float = 1.0
    follows: float = 0.0

    @property
    def frozen(self) -> bool:
        """Whether its weights stay as they are, bit for bit."""
        return self.rate == 0.0

    @property
    def unlearned(self) -> bool:
        """Whether no gradient changes it: it is frozen, or it follows."""
        return self.frozen or bool(self.follows)


PLAIN = Group()


def group_views(views: Sequence[str], rates: Mapping[str, float], decay_exclude: Sequence[str]) -> tuple[Group, ...]:
    """The group of each view, by patterns of names as the shell has them: "0.*", "*.b", "*norm*".

    rates: factors of the learning rate; those of all patterns that match a view are multiplied, and 0 freezes it.
    decay_exclude: views without weight decay. Raises ConfigError where a pattern matches nothing, or all is frozen.
    """
    for key, patterns in (("rates", rates), ("decay_exclude", decay_exclude)):
        for pattern in patterns:
            _require_match(key, pattern, views)
    groups = tuple(_group(view, rates, decay_exclude) for view in views)
    if groups and all(group.frozen for group in groups):
        raise ConfigError(
            "`optimizer.rates` freezes every parameter",
            "nothing would be trained",
            "leave the last layer its rate: name only the layers that are to stay as they are",
        )
    return groups


def _group(view: str, rates: Mapping[str, float], decay_exclude: Sequence[str]) -> Group:
    matching = [rates[pattern] for pattern in sorted(rates) if fnmatchcase(view, pattern)]
    return Group(math.prod(matching, start=1.0), 0.0 if _any_matches(view, decay_exclude) else 1.0)


def _any_matches(view: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(view, pattern) for pattern in patterns)


def _require_match(key: str, pattern: str, views: Sequence[str]) -> None:
    if any(fnmatchcase(view, pattern) for view in views):
        return
    guess = closest(pattern, views)
    more = f" and {len(views) - NAMED} more" if len(views) > NAMED else ""
    raise ConfigError(
        f"`optimizer.{key}` has {pattern!r}, which is no parameter's name",
        f"there are: {', '.join(views[:NAMED])}{more}; * stands for any text",
        f"did you mean `{guess}`?" if guess else "write for example '0.*' for the first layer, or '*.b' for all biases",
    )
