"""What a run could have shown: its power to approve, and the items that would settle what it left open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

MANY_ITEMS = 10_000_000
"""Beyond this many items a larger sample is not advice anyone can follow."""


@dataclass(frozen=True, slots=True)
class Reach:
    """``power`` is the chance that a run like this one approves an update that changes nothing."""

    power: float
    items_needed: int | None
    """Items in all that would settle it, were estimate and spread to stay as they are; None where no number would."""


def reach(*, estimate: float, most: float, margin: float, level: float, n: int) -> Reach:
    """From the harm that was estimated, the largest harm its interval allows, and the harm that is allowed.

    The width of the interval is taken to shrink with the square root of the number of items, and the estimate to vary
    normally; both are rough where clusters are few, so the numbers are for planning and never decide.
    """
    half, room = max(0.0, most - estimate), margin - estimate
    critical = NormalDist().inv_cdf(0.5 + level / 2)
    error = half / critical
    power = 1.0 if error == 0 else NormalDist().cdf((margin - half) / error)
    needed = n * (half / room) ** 2 if room > 0 else math.inf
    return Reach(power=power, items_needed=max(n + 1, math.ceil(needed)) if needed <= MANY_ITEMS else None)
