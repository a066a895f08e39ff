"""Items that share a topic, an author or a template are not independent: variances are taken between clusters.

Arrays of simulated samples may have leading axes; the last axis is always that of the clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.statistics.effect import StatisticsError

Floats = NDArray[np.float64]

PRIOR_CORRELATION = 0.025
"""Correlation within clusters assumed of changes not seen: where nothing flipped it cannot be estimated."""


def checked(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[Floats, Floats, Sequence[Hashable]]:
    """Both lists as arrays.

    Raises:
        StatisticsError: lengths differ, fewer than two clusters, or a value is not finite.
    """
    b, a = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if not len(a) == len(b) == len(clusters):
        raise StatisticsError(f"{len(b)} values before, {len(a)} after, {len(clusters)} cluster labels")
    if len(set(clusters)) < 2:
        raise StatisticsError("an interval needs items from at least two clusters")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise StatisticsError("a score is not finite; the model or the probe is broken")
    return b, a, clusters


def by_cluster(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Sum and size of every cluster, in order of first appearance."""
    index: dict[Hashable, int] = {}
    labels = np.array([index.setdefault(label, len(index)) for label in clusters])
    sizes = np.bincount(labels).astype(np.float64)
    return np.bincount(labels, weights=values).astype(np.float64), sizes


def between_variance(sums: Floats, sizes: Floats) -> Floats:
    """(…) variance of the mean over items, from (…, G) sums of clusters of (G,) sizes: the jackknife over clusters.

    For clusters of one size this is the usual cluster-robust variance with G / (G - 1); for unequal sizes it is larger
    and errs on the safe side (CR3; Cameron & Miller 2015, section VI.B).
    """
    n, count = sizes.sum(), sizes.shape[-1]
    if count < 2:
        return np.zeros(sums.shape[:-1])
    mean = sums.sum(axis=-1, keepdims=True) / n
    without = (sums - sizes * mean) / (n - sizes)  # how far the mean moves when a cluster is left out
    return np.asarray((count - 1) / count * (without**2).sum(axis=-1), dtype=np.float64)


def unseen_variance(sizes: Floats, size: float = 1.0) -> float:
    """Variance that two changes of ``size`` not yet seen, one each way, would add to the mean.

    It keeps a sample in which nothing, or next to nothing, changed from being taken for certainty.
    """
    n = float(sizes.sum())
    typical = float((sizes**2).sum()) / n
    return 2 * size**2 * (1 + (typical - 1) * PRIOR_CORRELATION) / n**2


def design_effect(squares: Floats, sums: Floats, sizes: Floats) -> Floats:
    """(…) variance of the mean between clusters over its variance were the items independent; at least one.

    ``squares`` (…) are the sums of squared values. The two unseen changes of `unseen_variance` are in both.
    """
    n = float(sizes.sum())
    mean = sums.sum(axis=-1) / n
    independent = np.maximum(squares / n - mean**2, 0.0) / max(n - 1, 1) + 2 / n**2
    clustered = between_variance(sums, sizes) + unseen_variance(sizes)
    return np.asarray(np.maximum(1.0, clustered / independent), dtype=np.float64)
