"""Paired, clustered effects with intervals. A margin in the policy decides, never a p-value.

Items that share a cluster (topic, author, template) are not independent; every interval here is computed between
clusters. Sources: cluster-robust variance with t on G - 1 degrees of freedom (Cameron & Miller 2015), Tango's score
interval for a difference of paired proportions (Statistics in Medicine 17, 1998), Wilson (1927), Hanley & McNeil (1982)
for the area under the ROC curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import WeightgateError
from weightgate.probes.evidence import Interval, Measurement, Worse

EXACT_SIGN_FLIPS = 12
"""Up to this many clusters all 2**G sign assignments are enumerated; above it `MONTE_CARLO` of them are drawn."""
MONTE_CARLO = 9999


class StatisticsError(WeightgateError):
    """The data cannot carry the statistic: too few clusters, a NaN, or lists of different length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An effect and its two-sided interval; ``before`` and ``after`` are the two means."""

    effect: float
    low: float
    high: float
    level: float
    n: int
    clusters: int
    p_value: float | None
    method: str
    before: float | None = None
    after: float | None = None


def paired_mean(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable], *, level: float = 0.95
) -> Effect:
    """Mean of after - before over items, with a cluster-robust t interval and a sign-flip p over clusters.

    Raises:
        StatisticsError: lengths differ, fewer than two clusters, or a value is not finite.
    """
    b, a, groups = _checked(before, after, clusters)
    d = a - b
    mean = float(d.mean())
    sums, sizes = _by_cluster(d, groups)
    count = len(sums)
    standard_error = math.sqrt(count / (count - 1) * float(((sums - sizes * mean) ** 2).sum())) / len(d)
    half = _t_quantile(level, count - 1) * standard_error
    return Effect(
        effect=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        n=len(d),
        clusters=count,
        p_value=_sign_flip_p(sums),
        method="paired mean, cluster-robust t interval",
        before=float(b.mean()),
        after=float(a.mean()),
    )


def paired_proportion(
    before: Sequence[bool], after: Sequence[bool], clusters: Sequence[Hashable], *, level: float = 0.95
) -> Effect:
    """Difference of two proportions on the same items: Tango's score interval.

    The number of items is divided by the design effect, estimated from the clusters (never below one). With no flip at
    all the design effect cannot be estimated and is taken as one; the interval still has positive width.

    Raises:
        StatisticsError: as `paired_mean`.
    """
    b, a, groups = _checked(before, after, clusters)
    d = a - b
    sums, sizes = _by_cluster(d, groups)
    n = len(d)
    effective = n / _design_effect(d, sums, sizes)
    p_before, p_after = float(b.mean()), float(a.mean())
    low, high = tango(float((b * (1 - a)).mean()), float((a * (1 - b)).mean()), effective, level)
    return Effect(
        effect=p_after - p_before,
        low=low,
        high=high,
        level=level,
        n=n,
        clusters=len(sums),
        p_value=_sign_flip_p(sums),
        method="paired difference of proportions, Tango score interval with design effect",
        before=p_before,
        after=p_after,
    )


def proportion(successes: Sequence[bool], clusters: Sequence[Hashable], *, level: float = 0.95) -> Effect:
    """A rate with its Wilson interval in ``effect``, ``low`` and ``high``; items are discounted by the design effect.

    Raises:
        StatisticsError: as `paired_mean`, except that one cluster is enough.
    """
    x = np.asarray(successes, dtype=np.float64)
    if len(x) == 0 or len(x) != len(clusters):
        raise StatisticsError(f"{len(x)} outcomes for {len(clusters)} cluster labels")
    sums, sizes = _by_cluster(x, clusters)
    effective = len(x) / (_design_effect(x, sums, sizes) if len(sums) > 1 else 1.0)
    rate = float(x.mean())
    low, high = wilson(rate, effective, level)
    return Effect(
        effect=rate,
        low=low,
        high=high,
        level=level,
        n=len(x),
        clusters=len(sums),
        p_value=None,
        method="Wilson interval with design effect",
        after=rate,
    )


def difference_of_means(
    treated: Sequence[float],
    control: Sequence[float],
    *,
    treated_clusters: Sequence[Hashable],
    control_clusters: Sequence[Hashable],
    level: float = 0.95,
) -> Effect:
    """Mean of one group of items minus the mean of another, both clustered (Welch on cluster-robust variances).

    Raises:
        StatisticsError: fewer than two clusters in a group, or a value that is not finite.
    """
    means, variances, counts = [], [], []
    for values, labels in ((treated, treated_clusters), (control, control_clusters)):
        x, _, groups = _checked(values, values, labels)
        sums, sizes = _by_cluster(x, groups)
        count = len(sums)
        means.append(float(x.mean()))
        variances.append(count / (count - 1) * float(((sums - sizes * x.mean()) ** 2).sum()) / len(x) ** 2)
        counts.append(count)
    total = sum(variances)
    shares = sum(v * v / (c - 1) for v, c in zip(variances, counts, strict=True))
    half = _t_quantile(level, total * total / shares) * math.sqrt(total) if total > 0 else 0.0
    effect = means[0] - means[1]
    return Effect(
        effect=effect,
        low=effect - half,
        high=effect + half,
        level=level,
        n=len(treated) + len(control),
        clusters=sum(counts),
        p_value=None,
        method="difference of means, Welch t on cluster-robust variances",
    )


def auc(
    positive: Sequence[float],
    negative: Sequence[float],
    *,
    positive_clusters: Sequence[Hashable],
    negative_clusters: Sequence[Hashable],
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
) -> Effect:
    """Area under the ROC curve minus one half, positives against negatives (ties count half).

    The interval uses the larger of the cluster-bootstrap and the Hanley-McNeil standard error, around an estimate that
    is shrunk by one pseudo-pair, so that a perfect separation of few rows still has positive width.

    Raises:
        StatisticsError: an empty group or a value that is not finite.
    """
    x, y = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if min(len(x), len(y)) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise StatisticsError("an AUC needs at least two finite scores in each group")
    value = _auc(x, y)
    pairs = min(len(x), len(y))
    shrunk = (value * pairs + 0.5) / (pairs + 1)
    rng = np.random.default_rng(seed)
    draws = [_auc(_resample(x, positive_clusters, rng), _resample(y, negative_clusters, rng)) for _ in range(resamples)]
    error = max(float(np.std(draws, ddof=1)), _hanley_mcneil(shrunk, len(x), len(y)))
    half = _normal_quantile(level) * error
    return Effect(
        effect=value - 0.5,
        low=min(max(0.0, shrunk - half), value) - 0.5,
        high=max(min(1.0, shrunk + half), value) - 0.5,
        level=level,
        n=len(x) + len(y),
        clusters=len(set(positive_clusters)) + len(set(negative_clusters)),
        p_value=None,
        method="AUC - 0.5, cluster bootstrap or Hanley-McNeil interval, whichever is wider",
        before=0.5,
        after=value,
    )


def measurement(effect: Effect, *, metric: str, title: str, unit: str, worse: Worse, method: str = "") -> Measurement:
    """Wrap an effect as the evidence a probe hands over; ``method`` is put before the statistic's own description."""
    return Measurement(
        metric=metric,
        title=title,
        unit=unit,
        worse=worse,
        before=effect.before,
        after=effect.after,
        effect=effect.effect,
        interval=Interval(low=effect.low, high=effect.high, level=effect.level, method=effect.method),
        n=effect.n,
        clusters=effect.clusters,
        p_value=effect.p_value,
        method=f"{method}; {effect.method}" if method else effect.method,
    )


def wilson(rate: float, n: float, level: float) -> tuple[float, float]:
    """Wilson score interval of a proportion; ``n`` may be an effective (fractional) sample size."""
    z = _normal_quantile(level)
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate))


def tango(only_before: float, only_after: float, n: float, level: float) -> tuple[float, float]:
    """Tango's score interval for p_after - p_before, from the two shares of discordant pairs.

    ``n`` may be an effective (fractional) sample size. Unlike Newcombe's hybrid it keeps its width when no pair flips.
    """
    z = _normal_quantile(level)
    b, c = only_after * n, only_before * n
    estimate = (b - c) / n

    def statistic(delta: float) -> float:
        linear = -b - c + (2 * n - b + c) * delta
        q = (math.sqrt(max(0.0, linear**2 + 8 * n * c * delta * (1 - delta))) - linear) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        gap = b - c - n * delta
        if variance <= 0:
            return 0.0 if gap == 0 else math.copysign(math.inf, gap)
        return gap / math.sqrt(variance)

    return _bisect(statistic, z, -1.0, estimate), _bisect(statistic, -z, estimate, 1.0)


def _bisect(decreasing: Callable[[float], float], target: float, low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if decreasing(middle) > target else (low, middle)
    return (low + high) / 2


def _checked(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.float64], Sequence[Hashable]]:
    b, a = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if not len(a) == len(b) == len(clusters):
        raise StatisticsError(f"{len(b)} values before, {len(a)} after, {len(clusters)} cluster labels")
    if len(set(clusters)) < 2:
        raise StatisticsError("an interval needs items from at least two clusters")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise StatisticsError("a score is not finite; the model or the probe is broken")
    return b, a, clusters


def _by_cluster(
    values: NDArray[np.float64], clusters: Sequence[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and size of every cluster, in order of first appearance."""
    index: dict[Hashable, int] = {}
    labels = np.array([index.setdefault(label, len(index)) for label in clusters])
    sizes = np.bincount(labels).astype(np.float64)
    return np.bincount(labels, weights=values).astype(np.float64), sizes


def _design_effect(values: NDArray[np.float64], sums: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """Variance of the mean between clusters over its variance were the items independent; at least one."""
    n, count = len(values), len(sums)
    independent = float(values.var(ddof=1)) / n if n > 1 else 0.0
    if independent == 0.0 or count < 2:
        return 1.0
    clustered = count / (count - 1) * float(((sums - sizes * values.mean()) ** 2).sum()) / n**2
    return max(1.0, clustered / independent)


def _sign_flip_p(sums: NDArray[np.float64]) -> float:
    """Two-sided p of the hypothesis that the cluster sums are symmetric about zero."""
    observed = abs(float(sums.sum()))
    if observed == 0.0:
        return 1.0
    count = len(sums)
    tolerance = 1e-12 * max(1.0, observed)
    if count <= EXACT_SIGN_FLIPS:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((1 - 2 * bits) @ sums) >= observed - tolerance).mean())
    signs = np.random.default_rng(0).integers(0, 2, size=(MONTE_CARLO, count)) * 2 - 1
    return float((1 + (np.abs(signs @ sums) >= observed - tolerance).sum()) / (MONTE_CARLO + 1))


def _auc(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    order = np.sort(y)
    below = np.searchsorted(order, x, side="left")
    ties = np.searchsorted(order, x, side="right") - below
    return float((below + 0.5 * ties).sum() / (len(x) * len(y)))


def _resample(
    values: NDArray[np.float64], clusters: Sequence[Hashable], rng: np.random.Generator
) -> NDArray[np.float64]:
    members: dict[Hashable, list[int]] = {}
    for position, label in enumerate(clusters):
        members.setdefault(label, []).append(position)
    groups = list(members.values())
    chosen = rng.integers(0, len(groups), size=len(groups))
    drawn: NDArray[np.float64] = values[np.concatenate([groups[i] for i in chosen])]
    return drawn


def _hanley_mcneil(area: float, n: int, m: int) -> float:
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)
    return math.sqrt(max(0.0, variance))


def _t_quantile(level: float, degrees: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + level / 2, degrees))


def _normal_quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + level / 2)
