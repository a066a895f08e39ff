"""How well scores tell two groups apart: the area under the ROC curve.

Sources: Obuchowski (Biometrics 53, 1997) for clustered structural components, Hanley & McNeil (1982).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from weightgate.probes.statistics.clusters import Floats, between_variance, by_cluster
from weightgate.probes.statistics.effect import Effect, StatisticsError
from weightgate.probes.statistics.intervals import normal_quantile


def auc(
    positive: Sequence[float],
    negative: Sequence[float],
    *,
    positive_clusters: Sequence[Hashable],
    negative_clusters: Sequence[Hashable],
    level: float = 0.95,
) -> Effect:
    """Area under the ROC curve minus one half, positives against negatives (ties count half).

    The interval uses the larger of Obuchowski's clustered and the Hanley-McNeil standard error, around an estimate that
    is shrunk by one pseudo-pair, so that a perfect separation of few rows still has positive width.

    Raises:
        StatisticsError: an empty group, a label missing, or a value that is not finite.
    """
    x, y = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if min(len(x), len(y)) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise StatisticsError("an AUC needs at least two finite scores in each group")
    if (len(x), len(y)) != (len(positive_clusters), len(negative_clusters)):
        raise StatisticsError("an AUC needs one cluster label for each score")
    above, below = components(x, y), 1 - components(y, x)
    value = float(above.mean())
    variance = sum(
        float(between_variance(*by_cluster(part, labels)))
        for part, labels in ((above, positive_clusters), (below, negative_clusters))
    )
    low, high = limits(value, variance, len(x), len(y), normal_quantile(level))
    return Effect(
        effect=value - 0.5,
        low=float(low) - 0.5,
        high=float(high) - 0.5,
        level=level,
        n=len(x) + len(y),
        clusters=len(set(positive_clusters)) + len(set(negative_clusters)),
        p_value=None,
        method="AUC - 0.5, Obuchowski's clustered or Hanley-McNeil interval, whichever is wider",
        before=0.5,
        after=value,
    )


def limits(
    area: float | Floats, variance: float | Floats, n: int, m: int, critical: float
) -> tuple[float | Floats, float | Floats]:
    """Ends of the interval of an area, elementwise."""
    pairs = min(n, m)
    shrunk = (area * pairs + 0.5) / (pairs + 1)
    half = critical * np.sqrt(np.maximum(variance, _hanley_mcneil(shrunk, n, m)))
    return np.minimum(np.maximum(0.0, shrunk - half), area), np.maximum(np.minimum(1.0, shrunk + half), area)


def components(x: Floats, y: Floats) -> Floats:
    """For each x the share of all y that lie below it, ties counting half."""
    order = np.sort(y)
    below = np.searchsorted(order, x, side="left")
    ties = np.searchsorted(order, x, side="right") - below
    return np.asarray((below + 0.5 * ties) / len(y), dtype=np.float64)


def _hanley_mcneil(area: float | Floats, n: int, m: int) -> float | Floats:
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)
    return np.maximum(0.0, variance)
