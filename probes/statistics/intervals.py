"""Intervals from summary numbers. All take arrays; sample sizes may be effective, that is fractional.

Sources: Wilson (1927), Clopper and Pearson (1934), Korn and Graubard (Survey Methodology 24,
1998), Tango (Statistics in Medicine 17, 1998), and for the correction for
skewness Hall (JRSS B 54, 1992).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from weightgate.probes.statistics.clusters import Floats, between_variance, unseen_variance

SKEWNESS_SHOWN = 2.0
"""A dozen clusters show too little of a skewness: the correction is taken this many times, chosen by simulation."""


def wilson(rate: float, n: float, level: float) -> tuple[float, float]:
    """Wilson score interval of a proportion."""
    z = normal_quantile(level)
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)))
    return max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate))


def clopper_pearson(successes: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Exact interval of a proportion: it misses the truth in at most 1 - level of samples, whatever the truth."""
    from scipy.stats import beta

    x, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(x > 0, beta.ppf(tail, x, size - x + 1), 0.0)
        high = np.where(x < size, beta.ppf(1 - tail, x + 1, size - x), 1.0)
    return low, high


def effective_size(n: ArrayLike, effect: ArrayLike, level: float, clusters: int) -> Floats:
    """Number of independent items that clustered ones are worth in an exact interval (Korn & Graubard 1998).

    The design effect is itself estimated, from few clusters badly: hence the ratio of the quantiles of z and t.
    """
    ratio = 1.0 if clusters < 2 else normal_quantile(level) / t_quantile(level, clusters - 1)
    worth = np.asarray(n, dtype=np.float64) / np.asarray(effect, dtype=np.float64)
    return np.where(np.asarray(effect) > 1, worth * ratio**2, worth)


def tango(only_before: float, only_after: float, n: float, level: float) -> tuple[float, float]:
    """Tango's score interval for p_after - p_before, from the two shares of discordant pairs.

    Unlike Newcombe's hybrid it keeps its width when no pair flips.
    """
    low, high = tango_limits(only_before, only_after, n, normal_quantile(level))
    return float(low), float(high)


def tango_limits(only_before: ArrayLike, only_after: ArrayLike, n: ArrayLike, critical: float) -> tuple[Floats, Floats]:
    """Tango's interval, elementwise, at a critical value of one's own: t in place of z where clusters are few."""
    size = np.asarray(n, dtype=np.float64)
    b, c = np.asarray(only_after, dtype=np.float64) * size, np.asarray(only_before, dtype=np.float64) * size
    estimate = np.asarray((b - c) / size)

    def statistic(delta: Floats) -> Floats:
        linear = -b - c + (2 * size - b + c) * delta
        q = (np.sqrt(np.maximum(0.0, linear**2 + 8 * size * c * delta * (1 - delta))) - linear) / (4 * size)
        variance = size * (2 * q + delta * (1 - delta))
        gap = b - c - size * delta
        steep = np.where(gap == 0, 0.0, np.copysign(np.inf, gap))
        return np.where(variance > 0, gap / np.sqrt(np.where(variance > 0, variance, 1.0)), steep)

    def bisect(target: float, low: Floats, high: Floats) -> Floats:
        for _ in range(60):
            middle = (low + high) / 2
            above = statistic(middle) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return (low + high) / 2

    ones = np.ones_like(estimate)
    return bisect(critical, -ones, estimate), bisect(-critical, estimate, ones)


def flip_limits(
    only_before: ArrayLike, only_after: ArrayLike, effective: ArrayLike, critical: float, *, sums: Floats, sizes: Floats
) -> tuple[Floats, Floats]:
    """Interval of the difference of two proportions on the same items: Tango's, or the t interval's end where farther.

    With few flips, nearly all one way, Tango's nearer end comes too close: the harm would be called shown too often.
    """
    low, high = tango_limits(only_before, only_after, effective, critical)
    mean = sums.sum(axis=-1) / float(sizes.sum())
    half = critical * np.sqrt(between_variance(sums, sizes) + unseen_variance(sizes))
    return np.minimum(low, mean - half), np.maximum(high, mean + half)


def mean_limits(sums: Floats, sizes: Floats, critical: float, bound: float | None = None) -> tuple[Floats, Floats]:
    """(…) interval of the mean over items from (…, G) cluster sums: t with a correction for skewness.

    The skewness of the cluster totals moves the quantiles of t (Hall 1992, one term); an end is only ever moved
    outwards. With ``bound``, the largest change of one item, two changes of that size not yet seen are allowed for.
    """
    n, count = float(sizes.sum()), sums.shape[-1]
    mean = sums.sum(axis=-1) / n
    seen = between_variance(sums, sizes)
    error = np.sqrt(seen if bound is None else seen + unseen_variance(sizes, bound))
    deviations = sums - sizes * mean[..., None]
    second, third = (deviations**2).mean(axis=-1), (deviations**3).mean(axis=-1)
    flat = second <= 1e-24 * np.maximum(1.0, (sums**2).mean(axis=-1))
    skewness = np.where(flat, 0.0, third / np.where(flat, 1.0, second) ** 1.5)
    shift = SKEWNESS_SHOWN * np.sqrt(seen) * skewness * (2 * critical**2 + 1) / (6 * count**0.5)
    return (
        mean - critical * error + np.minimum(0.0, shift),
        mean + critical * error + np.maximum(0.0, shift),
    )


def t_quantile(level: float, degrees: float) -> float:
    """Two-sided critical value of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.5 + level / 2, degrees))


def normal_quantile(level: float) -> float:
    """Two-sided critical value of the normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + level / 2)
