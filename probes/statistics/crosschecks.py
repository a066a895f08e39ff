"""Second opinions that assume other things than the intervals do: sign flips, exact McNemar, bootstrap by cluster."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from weightgate.probes.statistics.clusters import Floats, by_cluster, checked

EXACT_SIGN_FLIPS = 12
"""Up to this many clusters all 2**G sign assignments are enumerated; above it `MONTE_CARLO` of them are drawn."""
MONTE_CARLO = 9999


def sign_flip_p(sums: Floats) -> float:
    """Two-sided p of the hypothesis that the cluster sums are symmetric about zero (Fisher's randomisation test)."""
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


def mcnemar_exact(only_before: int, only_after: int) -> float:
    """Two-sided exact p of McNemar's test: were the flips coin tosses, how rare is so uneven a split.

    It takes items for independent and says nothing about a margin: a second opinion on whether anything changed.
    """
    from scipy.stats import binom

    flips, fewer = only_before + only_after, min(only_before, only_after)
    return min(1.0, 2 * float(binom.cdf(fewer, flips, 0.5))) if flips else 1.0


def cluster_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float]:
    """Percentile interval of the mean difference, clusters drawn with replacement.

    It has no width where nothing flipped and is too narrow with few clusters, so it only stands beside the interval.

    Raises:
        StatisticsError: as `paired_mean`.
    """
    b, a, groups = checked(before, after, clusters)
    sums, sizes = by_cluster(a - b, groups)
    weights = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    means = (weights @ sums) / (weights @ sizes)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
