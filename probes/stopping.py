"""Stopping early: items are handed over in a secret order, in parts, until every question of the policy is settled.

A probe still knows no verdict. It is told which margins will be asked about, and stops where more items could not
change the answer. Half of the error that the policy allows is spent while looking, half on the whole sample: what is
not settled early is then judged on an interval that is about a sixth wider than without early stopping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weightgate.probes.evidence import Interval, Measurement, Sequential, Worse
from weightgate.probes.order import commitment, item_order
from weightgate.probes.sequential import Certificate, advance, confidence_sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One margin that the policy will ask about.

    ``min_n`` items are needed for an approval. With ``final`` shown harm decides the whole verdict, so that nothing
    else needs to be settled.
    """

    margin: float
    worse: Worse
    min_n: int = 1
    final: bool = False

    def harm(self, change: float) -> float:
        """A change in the direction that is worse."""
        return -change if self.worse == "lower" else change

    def shows_harm(self, interval: Interval) -> bool:
        """The whole interval lies beyond the margin."""
        return min(self.harm(interval.low), self.harm(interval.high)) > self.margin

    def excludes_harm(self, interval: Interval) -> bool:
        """The whole interval lies inside the margin."""
        return max(self.harm(interval.low), self.harm(interval.high)) <= self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """When a probe may stop. ``key`` and the digest of the update determine the order of the items."""

    key: bytes
    update: str
    targets: Mapping[str, Target]
    level: float = 0.95
    parts: int = 12

    def looks(self, ids: Sequence[str]) -> Iterator[tuple[Look, tuple[int, ...]]]:
        """Each look and the positions of the items that are new at it.

        Raises:
            StatisticsError: no items, or an id given twice.
        """
        order = item_order(self.key, self.update, ids)
        committed = commitment([ids[position] for position in order])
        parts = min(self.parts, len(order))
        ends = [round(len(order) * part / parts) for part in range(parts + 1)]
        for part in range(parts):
            look = Look(stopping=self, pool=len(order), order=committed, early=parts - 1, last=part == parts - 1)
            yield look, order[ends[part] : ends[part + 1]]

    def settled(self, measurements: Sequence[Measurement]) -> bool:
        """Whether more items could not change what the policy makes of these measurements.

        Measurements the policy does not ask about never hold a probe up; if it asks about none, nothing is settled.
        """
        asked = [(m, self.targets[m.metric]) for m in measurements if m.metric in self.targets]
        if any(target.final and target.shows_harm(m.interval) for m, target in asked):
            return True
        return bool(asked) and all(
            m.n >= target.min_n and (target.shows_harm(m.interval) or target.excludes_harm(m.interval))
            for m, target in asked
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the items so far; ``early`` looks come before the last one."""

    stopping: Stopping
    pool: int
    order: str
    early: int
    last: bool

    @property
    def fixed_level(self) -> float:
        """Level of an interval that is computed anew at every look: the early ones share what is spent early."""
        spent = (1 - self.stopping.level) / 2
        return 1 - (spent if self.last else spent / self.early)

    def judge(self, measured: Measurement, changes: Sequence[float], *, low: float, high: float) -> Measurement:
        """A measurement of bounded changes as it may be judged at any look, with its e-values.

        ``changes`` are those of the items so far in the committed order, each between ``low`` and ``high``;
        ``measured`` has an interval at `fixed_level`. At the last look both intervals hold, and so does what they have
        in common.
        """
        running = 1 - (1 - self.stopping.level) / 2
        target = self.stopping.targets.get(measured.metric)
        margins = [] if target is None else [-target.margin if target.worse == "lower" else target.margin]
        ends = confidence_sequence(changes, level=running, low=low, high=high, margins=margins)
        if self.last:
            ends = max(ends[0], measured.interval.low), min(ends[1], measured.interval.high)
        method = f"betting confidence sequence over {len(changes)} of {self.pool} items"
        if self.last:
            method += f", together with {measured.interval.method}"
        evidence = None if target is None else self._evidence(target, changes, (low, high), running)
        return measured.model_copy(
            update={
                "interval": Interval(low=ends[0], high=ends[1], level=self.stopping.level, method=method),
                "sequential": evidence,
            }
        )

    def relabel(self, measured: Measurement) -> Measurement:
        """A measurement whose interval at `fixed_level` holds at every look together at the policy's level."""
        interval = measured.interval
        method = f"{interval.method}, corrected for {self.early + 1} looks"
        return measured.model_copy(
            update={"interval": interval.model_copy(update={"level": self.stopping.level, "method": method})}
        )

    def _evidence(
        self, target: Target, changes: Sequence[float], bounds: tuple[float, float], level: float
    ) -> Sequential:
        harms = sorted(target.harm(bound) for bound in bounds)
        start = Certificate(margin=target.margin, low=harms[0], high=harms[1], level=level, order=self.order)
        end = advance(start, [target.harm(change) for change in changes], order=self.order)
        return Sequential(
            pool=self.pool,
            margin=target.margin,
            log_e_safe=end.log_e_safe,
            log_e_harm=end.log_e_harm,
            order=self.order,
        )


def level_at(look: Look | None, usual: float = 0.95) -> float:
    """Level of a fixed interval: the usual one where the whole sample is always used."""
    return usual if look is None else look.fixed_level


Bounds = tuple[float, float]


def at_look(
    look: Look | None, measured: Measurement, changes: Sequence[float] = (), bounds: Bounds | None = None
) -> Measurement:
    """A measurement as it is without early stopping, or as it may be judged at a look."""
    if look is None:
        return measured
    return look.relabel(measured) if bounds is None else look.judge(measured, changes, low=bounds[0], high=bounds[1])
