"""Samples whose truth lies exactly on the margin, and what the fixed-sample intervals make of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.statistics.clusters import between_variance, design_effect
from weightgate.probes.statistics.intervals import (
    clopper_pearson,
    effective_size,
    flip_limits,
    mean_limits,
    normal_quantile,
    t_quantile,
)
from weightgate.probes.statistics.ranks import limits

Floats = NDArray[np.float64]
Rates = tuple[float, float]
"""Shares of wrong approvals and wrong blocks."""
Trial = Callable[[np.random.Generator, int], Rates]
LEVEL = 0.95
CHUNK = 1000


def judged(low: Floats, high: Floats, truth: float) -> Rates:
    """With a fall of exactly the margin: inside it is a wrong approval, beyond it a wrong block."""
    return float((low >= truth).mean()), float((high < truth).mean())


def in_chunks(rng: np.random.Generator, runs: int, trial: Trial) -> Rates:
    """The rates over many runs without holding all their items at once."""
    sizes = [min(CHUNK, runs - start) for start in range(0, runs, CHUNK)]
    rates = np.array([trial(rng, size) for size in sizes])
    return tuple(((rates * np.array(sizes)[:, None]).sum(axis=0) / runs).tolist())  # type: ignore[return-value]


def flips(
    rng: np.random.Generator, runs: int, *, clusters: int, size: int, lost: float, won: float, correlation: float
) -> Floats:
    """(runs, clusters, size) changes of -1, 0 or 1; within a cluster each kind has intraclass ``correlation``."""

    def rates(mean: float) -> Floats:
        if mean == 0 or correlation == 0:
            return np.full((runs, clusters, 1), mean)
        spread = (1 - correlation) / correlation
        return rng.beta(mean * spread, (1 - mean) * spread, (runs, clusters))[..., None]

    shape = (runs, clusters, size)
    down = rng.random(shape) < rates(lost)
    up = ~down & (rng.random(shape) < rates(won) / (1 - lost))
    return up.astype(np.float64) - down


def paired_proportion(rng: np.random.Generator, runs: int, **sample: float) -> Rates:
    """Tango's interval with t and design effect, on flips."""

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        d = flips(rng, runs, **sample)  # type: ignore[arg-type]
        _, count, size = d.shape
        n = count * size
        sums, sizes = d.sum(axis=2), np.full(count, float(size))
        effective = n / design_effect((d**2).sum(axis=(1, 2)), sums, sizes)
        lost, won = (d < 0).mean(axis=(1, 2)), (d > 0).mean(axis=(1, 2))
        ends = flip_limits(lost, won, effective, t_quantile(LEVEL, count - 1), sums=sums, sizes=sizes)
        return judged(*ends, sample["won"] - sample["lost"])

    return in_chunks(rng, runs, trial)


def proportion(rng: np.random.Generator, runs: int, **sample: float) -> Rates:
    """Clopper-Pearson with design effect, on negative flips."""

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        d = -flips(rng, runs, won=0.0, **sample)  # type: ignore[arg-type]
        _, count, size = d.shape
        n = count * size
        effect = design_effect(d.sum(axis=(1, 2)), d.sum(axis=2), np.full(count, float(size)))
        effective = effective_size(n, effect, LEVEL, count)
        low, high = clopper_pearson(d.mean(axis=(1, 2)) * effective, effective, LEVEL)
        return judged(-high, -low, -sample["lost"])

    return in_chunks(rng, runs, trial)


def paired_mean(
    rng: np.random.Generator,
    runs: int,
    *,
    shape: str,
    clusters: int,
    size: int,
    share: float = 0.0,
    bound: float | None = None,
    unequal: bool = False,
) -> Rates:
    """The t interval with its corrections; ``share`` of the variance lies between clusters."""

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        sizes = np.full(clusters, float(size))
        if unequal:
            sizes = np.round(np.linspace(size / 3, 5 * size / 3, clusters))
        most = int(sizes.max())
        used = np.arange(most) < sizes[:, None]
        draw, truth = DRAWS[shape]
        between = draw(rng, (runs, clusters, 1)) - truth
        within = draw(rng, (runs, clusters, most)) - truth
        d = truth + np.sqrt(share) * between + np.sqrt(1 - share) * within
        sums = (d * used).sum(axis=2)
        return judged(*mean_limits(sums, sizes, t_quantile(LEVEL, clusters - 1), bound), truth)

    return in_chunks(rng, runs, trial)


def difference_of_means(rng: np.random.Generator, runs: int, *, shape: str, clusters: int, size: int) -> Rates:
    """Welch's t on two groups of clustered items whose difference is on the margin."""

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        draw, truth = DRAWS[shape]
        sizes = np.full(clusters, float(size))
        means, variances = [], []
        for spread in (1.0, 2.0):
            d = spread * (0.5 * (draw(rng, (runs, clusters, 1)) - truth) + draw(rng, (runs, clusters, size)) - truth)
            means.append(d.mean(axis=(1, 2)))
            variances.append(between_variance(d.sum(axis=2), sizes))
        total = variances[0] + variances[1]
        degrees = total**2 / sum(v**2 / (clusters - 1) for v in variances)
        from scipy.stats import t

        half = t.ppf(0.5 + LEVEL / 2, degrees) * np.sqrt(total)
        effect = means[0] - means[1]
        return judged(effect - half, effect + half, 0.0)

    return in_chunks(rng, runs, trial)


def auc(rng: np.random.Generator, runs: int, *, rows: int, shift: float) -> Rates:
    """Obuchowski's or the Hanley-McNeil interval; the area is that of two normals ``shift`` apart."""
    from statistics import NormalDist

    truth = NormalDist().cdf(shift / 2**0.5)

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        rates = []
        for _ in range(0, runs, 100):
            x, y = rng.normal(shift, 1, (100, rows)), rng.normal(0, 1, (100, rows))
            above = (x[:, :, None] > y[:, None, :]).astype(np.float32)
            area, ones = above.mean(axis=(1, 2)), np.ones(rows)
            parts = above.mean(axis=2), above.mean(axis=1)
            variance = sum(between_variance(part.astype(np.float64), ones) for part in parts)
            low, high = limits(area.astype(np.float64), variance, rows, rows, normal_quantile(LEVEL))
            rates.append(judged(-np.asarray(high), -np.asarray(low), -truth))
        return tuple(np.mean(rates, axis=0))  # type: ignore[return-value]

    return in_chunks(rng, runs, trial)


def _bounded(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """A probability that mostly stays, and falls by much on one item in thirty."""
    return np.where(rng.random(shape) < 1 / 30, -0.9, rng.normal(0, 0.02, shape).clip(-0.1, 0.1))


DRAWS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, ...]], Floats], float]] = {
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
    "heavy": (lambda rng, shape: rng.standard_t(4, size=shape), 0.0),
    "rare_large_losses": (lambda rng, shape: -rng.lognormal(0, 0.8, size=shape), -float(np.exp(0.32))),
    "rare_large_gains": (lambda rng, shape: rng.lognormal(0, 0.8, size=shape), float(np.exp(0.32))),
    "bounded": (_bounded, -0.9 / 30),
}

TESTS: dict[str, Trial] = {
    "paired_proportion_200_rare_losses": partial(
        paired_proportion, clusters=200, size=1, lost=0.02, won=0.0, correlation=0.0
    ),
    "paired_proportion_240_losses": partial(
        paired_proportion, clusters=240, size=1, lost=0.05, won=0.0, correlation=0.0
    ),
    "paired_proportion_48_prompts_in_16_topics": partial(
        paired_proportion, clusters=16, size=3, lost=0.15, won=0.05, correlation=0.05
    ),
    "paired_proportion_240_in_12_topics_losses": partial(
        paired_proportion, clusters=12, size=20, lost=0.05, won=0.0, correlation=0.05
    ),
    "paired_proportion_240_in_12_topics_churn": partial(
        paired_proportion, clusters=12, size=20, lost=0.08, won=0.03, correlation=0.05
    ),
    "paired_proportion_240_in_48_topics_losses": partial(
        paired_proportion, clusters=48, size=5, lost=0.05, won=0.0, correlation=0.05
    ),
    "negative_flips_240": partial(proportion, clusters=240, size=1, lost=0.10, correlation=0.0),
    "negative_flips_240_in_12_topics": partial(proportion, clusters=12, size=20, lost=0.10, correlation=0.05),
    "paired_mean_12_topics_normal": partial(paired_mean, shape="normal", clusters=12, size=20, share=0.2),
    "paired_mean_16_topics_normal": partial(paired_mean, shape="normal", clusters=16, size=3, share=0.3),
    "paired_mean_12_unequal_topics": partial(
        paired_mean, shape="normal", clusters=12, size=21, share=0.2, unequal=True
    ),
    "paired_mean_16_topics_heavy_tails": partial(paired_mean, shape="heavy", clusters=16, size=3, share=0.1),
    "paired_mean_16_topics_rare_large_losses": partial(paired_mean, shape="rare_large_losses", clusters=16, size=3),
    "paired_mean_16_topics_rare_large_gains": partial(paired_mean, shape="rare_large_gains", clusters=16, size=3),
    "paired_mean_p_correct_240": partial(paired_mean, shape="bounded", clusters=12, size=20, bound=1.0),
    "difference_of_means_16_topics": partial(difference_of_means, shape="normal", clusters=16, size=3),
    "auc_96_rows": partial(auc, rows=96, shift=0.954),
    "auc_96_rows_at_chance": partial(auc, rows=96, shift=0.0),
}

BEYOND: dict[str, Trial] = {
    "paired_proportion_12_topics_correlation_0.1": partial(
        paired_proportion, clusters=12, size=20, lost=0.05, won=0.0, correlation=0.1
    ),
    "paired_proportion_12_topics_correlation_0.2": partial(
        paired_proportion, clusters=12, size=20, lost=0.05, won=0.0, correlation=0.2
    ),
    "paired_proportion_12_topics_margin_0.03_correlation_0.1": partial(
        paired_proportion, clusters=12, size=20, lost=0.03, won=0.0, correlation=0.1
    ),
    "paired_mean_12_topics_skewed_between_topics": partial(
        paired_mean, shape="rare_large_losses", clusters=12, size=20, share=0.5
    ),
    "paired_mean_5_topics": partial(paired_mean, shape="normal", clusters=5, size=20, share=0.3),
}
