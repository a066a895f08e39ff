"""What a statistic returns, and how it becomes evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from weightgate.lineage.errors import WeightgateError
from weightgate.probes.evidence import Interval, Measurement, Worse


class StatisticsError(WeightgateError):
    """The data cannot carry the statistic: too few clusters, a NaN, or lists of different length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An effect and its two-sided interval; ``before`` and ``after`` are the two means.

    ``checks`` are other statistics of the same data, for readers who want a second opinion; they never decide.
    """

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
    checks: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


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
        checks=dict(effect.checks),
    )
