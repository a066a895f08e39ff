"""Paired effects: the same items before and after, and rates and contrasts over clustered items.

Every interval aims at missing the truth in (1 - level) / 2 of samples on each side and is allowed twice that: docs/
statistics.md has the simulated rates, and where they are exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from weightgate.probes.statistics.clusters import between_variance, by_cluster, checked, design_effect
from weightgate.probes.statistics.crosschecks import cluster_bootstrap, mcnemar_exact, sign_flip_p
from weightgate.probes.statistics.effect import Effect, StatisticsError
from weightgate.probes.statistics.intervals import (
    clopper_pearson,
    effective_size,
    flip_limits,
    mean_limits,
    t_quantile,
)


def paired_mean(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    bound: float | None = None,
) -> Effect:
    """Mean of after - before over items, with a cluster-robust t interval and a sign-flip p over clusters.

    Args:
        before: Scores on the parent.
        after: Scores on the child, in the same order.
        clusters: Cluster of each item.
        level: Confidence of the interval.
        bound: Largest possible change of one item, where there is one: then a sample without a large change is not
            taken to prove that there are none.

    Raises:
        StatisticsError: lengths differ, fewer than two clusters, or a value is not finite.
    """
    b, a, groups = checked(before, after, clusters)
    d = a - b
    sums, sizes = by_cluster(d, groups)
    low, high = mean_limits(sums, sizes, t_quantile(level, len(sums) - 1), bound)
    return Effect(
        effect=float(d.mean()),
        low=float(low),
        high=float(high),
        level=level,
        n=len(d),
        clusters=len(sums),
        p_value=sign_flip_p(sums),
        method="paired mean, cluster-robust t interval corrected for skewness",
        before=float(b.mean()),
        after=float(a.mean()),
        checks=_bootstrap(b.tolist(), a.tolist(), groups, level),
    )


def paired_proportion(
    before: Sequence[bool], after: Sequence[bool], clusters: Sequence[Hashable], *, level: float = 0.95
) -> Effect:
    """Difference of two proportions on the same items: Tango's score interval, with t of the clusters for z.

    The number of items is divided by the design effect, estimated from the clusters and never below one. Flips that
    were not seen are given a small correlation within clusters, so no flip at all is not certainty.

    Raises:
        StatisticsError: as `paired_mean`.
    """
    b, a, groups = checked(before, after, clusters)
    d = a - b
    sums, sizes = by_cluster(d, groups)
    n = len(d)
    effective = n / float(design_effect(np.asarray((d**2).sum()), sums, sizes))
    p_before, p_after = float(b.mean()), float(a.mean())
    lost, won = float((b * (1 - a)).sum()), float((a * (1 - b)).sum())
    low, high = flip_limits(lost / n, won / n, effective, t_quantile(level, len(sums) - 1), sums=sums, sizes=sizes)
    return Effect(
        effect=p_after - p_before,
        low=float(low),
        high=float(high),
        level=level,
        n=n,
        clusters=len(sums),
        p_value=sign_flip_p(sums),
        method="paired difference of proportions, Tango score interval with t and design effect",
        before=p_before,
        after=p_after,
        checks={"mcnemar_p": mcnemar_exact(round(lost), round(won))}
        | _bootstrap(b.tolist(), a.tolist(), groups, level),
    )


def proportion(successes: Sequence[bool], clusters: Sequence[Hashable], *, level: float = 0.95) -> Effect:
    """A rate with its exact (Clopper-Pearson) interval in ``low`` and ``high``; items are divided by the design effect.

    Raises:
        StatisticsError: no outcome, or not one cluster label each.
    """
    x = np.asarray(successes, dtype=np.float64)
    if len(x) == 0 or len(x) != len(clusters):
        raise StatisticsError(f"{len(x)} outcomes for {len(clusters)} cluster labels")
    if not np.isin(x, (0.0, 1.0)).all():
        raise StatisticsError("an outcome of a rate is neither true nor false")
    sums, sizes = by_cluster(x, clusters)
    effect = float(design_effect(np.asarray(x.sum()), sums, sizes)) if len(sums) > 1 else 1.0
    effective = float(effective_size(len(x), effect, level, len(sums)))
    rate = float(x.mean())
    low, high = clopper_pearson(rate * effective, effective, level)
    return Effect(
        effect=rate,
        low=min(float(low), rate),
        high=max(float(high), rate),
        level=level,
        n=len(x),
        clusters=len(sums),
        p_value=None,
        method="Clopper-Pearson interval with design effect",
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
        x, _, groups = checked(values, values, labels)
        sums, sizes = by_cluster(x, groups)
        means.append(float(x.mean()))
        variances.append(float(between_variance(sums, sizes)))
        counts.append(len(sums))
    total = sum(variances)
    shares = sum(v * v / (c - 1) for v, c in zip(variances, counts, strict=True))
    half = t_quantile(level, total * total / shares) * math.sqrt(total) if total > 0 else 0.0
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


def _bootstrap(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable], level: float
) -> dict[str, float]:
    low, high = cluster_bootstrap(before, after, clusters, level=level)
    return {"bootstrap_low": low, "bootstrap_high": high}
