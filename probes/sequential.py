"""Tests that may be looked at after every item: betting on bounded differences (Waudby-Smith & Ramdas, JRSSB 2024).

One bets against "the harm is the margin or more" (safe) and one against "the harm is the margin or less" (harm). Under
its hypothesis a capital grows with probability at most a ever to 1 / a (Ville), whatever the stakes, as long as they
depend on earlier items only: so one may stop at any item, and go on later. For a fixed pool whose items are drawn
without replacement the hypothesis is about the mean of the pool, and its mean among the items not yet drawn follows.

Arrays may have leading axes, one simulated run or one margin each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.probes.statistics.clusters import Floats
from weightgate.probes.statistics.effect import StatisticsError

MOST = 600.0
"""Natural logarithm beyond which a capital is not counted: a hypothesis that cannot be true any more has this much."""
PRIOR_ITEMS, PRIOR_CHURN = 10.0, 0.03
"""The stakes start as after ten items of which three per cent changed, without a direction."""
STAKE = 0.9
"""Share of the capital that one item can cost."""


@dataclass(frozen=True, slots=True)
class Capital:
    """Both capitals and what the next stakes depend on: number, sum and sum of squares about no change."""

    log_safe: Floats
    log_harm: Floats
    total: Floats
    squares: Floats
    n: int = 0

    @classmethod
    def start(cls, shape: tuple[int, ...] = ()) -> Capital:
        """One unit on each side."""
        zero = np.zeros(shape)
        return cls(zero, zero, zero, zero)


@dataclass(frozen=True, slots=True)
class Wager:
    """What is tested: harm of ``margin``, where one item's harm lies in [``low``, ``high``]; ``pool`` items in all.

    ``margin`` may be an array. Without ``pool`` the items are a sample of something larger.
    """

    margin: ArrayLike
    low: float = -1.0
    high: float = 1.0
    pool: int | None = None

    @property
    def bound(self) -> Floats:
        """The margin on the scale of `scaled`."""
        return (self.high - np.asarray(self.margin, dtype=np.float64)) / (self.high - self.low)

    def scaled(self, harm: Floats) -> Floats:
        """Harm as a number between 0 (worst) and 1 (best)."""
        return (self.high - harm) / (self.high - self.low)


def bet(wager: Wager, capital: Capital, harm: ArrayLike) -> Capital:
    """The capitals after one more item (or one cluster's mean) whose harm is ``harm``.

    Raises:
        StatisticsError: a harm that is not finite or outside its bounds, or more items than the pool has.
    """
    h = np.asarray(harm, dtype=np.float64)
    if not np.isfinite(h).all() or (h < wager.low - 1e-9).any() or (h > wager.high + 1e-9).any():
        raise StatisticsError(f"an item's harm is not between {wager.low:g} and {wager.high:g}")
    if wager.pool is not None and capital.n >= wager.pool:
        raise StatisticsError(f"the pool of {wager.pool} items is used up")
    x, mean = wager.scaled(np.clip(h, wager.low, wager.high)), _mean_of_rest(wager, capital)
    inside = np.clip(mean, 1e-9, 1 - 1e-9)
    guess, spread = _expectation(wager, capital)
    gain = guess - inside
    variance = spread + gain**2
    safe_stake = np.clip(gain / variance, 0.0, STAKE / inside)
    harm_stake = np.clip(-gain / variance, 0.0, STAKE / (1 - inside))
    nothing = wager.scaled(np.zeros(()))
    after = Capital(
        log_safe=np.minimum(capital.log_safe + np.log1p(safe_stake * (x - inside)), MOST),
        log_harm=np.minimum(capital.log_harm + np.log1p(-harm_stake * (x - inside)), MOST),
        total=capital.total + x,
        squares=capital.squares + (x - nothing) ** 2,
        n=capital.n + 1,
    )
    return after if wager.pool is None else _impossible(wager, after)


def _expectation(wager: Wager, capital: Capital) -> tuple[Floats, Floats]:
    """Mean and variance that the next item is expected to have."""
    nothing, change = wager.scaled(np.zeros(())), 1 / (wager.high - wager.low)
    weight = capital.n + PRIOR_ITEMS
    mean = (capital.total + PRIOR_ITEMS * nothing) / weight
    square = (capital.squares + PRIOR_ITEMS * PRIOR_CHURN * change**2) / weight
    return mean, np.maximum(square - (mean - nothing) ** 2, 1e-6)


def _mean_of_rest(wager: Wager, capital: Capital) -> Floats:
    """The mean of the items to come, were the mean of all of them exactly at the margin."""
    if wager.pool is None:
        return wager.bound
    return (wager.pool * wager.bound - capital.total) / (wager.pool - capital.n)


def _impossible(wager: Wager, capital: Capital) -> Capital:
    """A hypothesis that the items drawn so far rule out has lost all."""
    assert wager.pool is not None  # noqa: S101 - the caller asks only about pools
    left, slack = wager.pool - capital.n, 1e-9 * wager.pool
    needed = wager.pool * wager.bound - capital.total
    return Capital(
        log_safe=np.where(needed < -slack, MOST, capital.log_safe),
        log_harm=np.where(needed > left + slack, MOST, capital.log_harm),
        total=capital.total,
        squares=capital.squares,
        n=capital.n,
    )


class Certificate(Frozen):
    """Where a sequential test stands: enough to go on another day, and to check what was claimed.

    ``order`` is the digest of the order of all items (`weightgate.probes.order`); going on in another order is another
    test. The decision, once reached, stands.
    """

    margin: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    pool: int | None = Field(default=None, ge=1)
    level: float = Field(gt=0.5, lt=1, description="Each side decides at an e-value of 2 / (1 - level).")
    order: str
    n: int = Field(default=0, ge=0)
    log_e_safe: float = Field(default=0.0, allow_inf_nan=False)
    log_e_harm: float = Field(default=0.0, allow_inf_nan=False)
    total: float = Field(default=0.0, allow_inf_nan=False)
    squares: float = Field(default=0.0, allow_inf_nan=False)
    decided: str = Field(default="", pattern="^(safe|harm|)$")

    @property
    def threshold(self) -> float:
        """Natural logarithm of the e-value that decides."""
        return math.log(2 / (1 - self.level))

    @property
    def wager(self) -> Wager:
        """What is tested."""
        return Wager(margin=self.margin, low=self.low, high=self.high, pool=self.pool)


def advance(certificate: Certificate, harms: Sequence[float], *, order: str) -> Certificate:
    """The certificate after more items, in the committed order. A decision stands, however the capital moves later.

    Raises:
        StatisticsError: another order, a harm out of bounds or not finite, or more items than the pool has.
    """
    if order != certificate.order:
        raise StatisticsError(
            "the certificate belongs to another order of the items",
            remedy="go on in the order it commits to, or start a new test",
        )
    state = Capital(
        np.asarray(certificate.log_e_safe),
        np.asarray(certificate.log_e_harm),
        np.asarray(certificate.total),
        np.asarray(certificate.squares),
        certificate.n,
    )
    decided = certificate.decided
    for harm in harms:
        state = bet(certificate.wager, state, harm)
        if not decided and float(state.log_safe) >= certificate.threshold:
            decided = "safe"
        if not decided and float(state.log_harm) >= certificate.threshold:
            decided = "harm"
    return certificate.model_copy(
        update={
            "n": state.n,
            "log_e_safe": float(state.log_safe),
            "log_e_harm": float(state.log_harm),
            "total": float(state.total),
            "squares": float(state.squares),
            "decided": decided,
        }
    )


def confidence_sequence(
    harms: Sequence[float],
    *,
    level: float,
    low: float = -1.0,
    high: float = 1.0,
    pool: int | None = None,
    margins: Sequence[float] = (),
    points: int = 400,
) -> tuple[float, float]:
    """Interval of the mean harm that holds at all numbers of items at once with probability ``level``.

    It is the range of margins that neither capital has ruled out at 2 / (1 - level) so far, on a grid that contains
    ``margins``, so that an interval inside a margin and a decision for it are the same thing.

    Raises:
        StatisticsError: as `bet`, or no item.
    """
    if not len(harms):
        raise StatisticsError("an interval needs at least one item")
    inner = [margin for margin in margins if low < margin < high]
    grid = np.unique(np.concatenate([np.linspace(low, high, points), np.asarray(inner, dtype=np.float64)]))
    wager, threshold = Wager(margin=grid, low=low, high=high, pool=pool), math.log(2 / (1 - level))
    state = Capital.start(grid.shape)
    most_safe, most_harm = np.zeros(grid.shape), np.zeros(grid.shape)
    for harm in harms:
        state = bet(wager, state, harm)
        most_safe, most_harm = np.maximum(most_safe, state.log_safe), np.maximum(most_harm, state.log_harm)
    # From the outside inwards, as far as every margin is ruled out; the last one ruled out is the end.
    above = int(np.argmin((most_safe >= threshold)[::-1]))
    below = int(np.argmin(most_harm >= threshold))
    upper = grid[len(grid) - max(above, 1)] if (most_safe < threshold).any() else low
    lower = grid[max(below, 1) - 1] if (most_harm < threshold).any() else high
    mean = float(np.mean(harms))
    return min(float(lower), mean), max(float(upper), mean)
