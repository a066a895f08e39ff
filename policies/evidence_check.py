"""Is the evidence fit to be judged? Each metric once, from its own probe, with finite numbers and a sane interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from weightgate.policies.decision import RuleOutcome
from weightgate.probes.evidence import Measurement, ProbeResult

ROUNDING = 1e-9
"""How far an effect may lie outside its interval through rounding, relative to its size (absolute below one)."""

MAX_REASON = 400
"""Characters of a probe's own words that a rule quotes; the whole is in the record."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results by probe name, what measured probes measured, and what is wrong with any of it.

    ``faults`` are by metric or probe name. A result that is repeated, or a metric that is, is in ``faults`` and its
    first copy is kept; nothing is approved while there are faults.
    """

    probes: Mapping[str, ProbeResult]
    metrics: Mapping[str, Measurement]
    faults: Mapping[str, str]

    @classmethod
    def collect(cls, results: Sequence[ProbeResult]) -> Evidence:
        """Index the results and check each measurement in them."""
        faults = {
            name: f"probe {name} is reported {count} times" for name, count in _repeated(r.probe for r in results)
        }
        measurements = [(result, m) for result in results for m in result.measurements]
        for name, count in _repeated(m.metric for _, m in measurements):
            faults[name] = f"{name} is reported {count} times"
        for result, m in measurements:
            fault = _fault(m) or _stranger(m, result)
            if fault:
                faults.setdefault(m.metric, f"{m.metric}: {fault}")
        return cls(
            probes=MappingProxyType({result.probe: result for result in reversed(results)}),
            metrics=MappingProxyType({m.metric: m for result, m in measurements if not unusable(result)}),
            faults=MappingProxyType(faults),
        )

    def rule(self) -> RuleOutcome:
        """The rule that no policy can switch off: malformed evidence blocks."""
        if self.faults:
            return RuleOutcome(
                rule="evidence",
                outcome="fail",
                verdict="block",
                message=f"The evidence is malformed: {'; '.join(self.faults[name] for name in sorted(self.faults))}.",
                remedy="correct or remove the probe that reported it, then run the audit again",
            )
        return RuleOutcome(
            rule="evidence",
            outcome="pass",
            verdict="approve",
            message=f"{_count(len(self.metrics), 'metric')} from {_count(len(self.probes), 'probe')}: each reported "
            "once, by its own probe, as finite numbers inside their intervals.",
        )


def unusable(result: ProbeResult) -> str:
    """Why nothing a probe measured may be relied on; empty if it may."""
    if result.status != "measured":
        return f"{result.status}: {_clip(result.reason) or 'no reason given'}"
    if result.control is not None and not result.control.fired:
        return f"failed its positive control: {_clip(result.control.detail) or 'the planted defect was not found'}"
    return ""


def _clip(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


def _fault(m: Measurement) -> str:
    interval = m.interval
    numbers = {"effect": m.effect, "low": interval.low, "high": interval.high, "level": interval.level}
    numbers |= {"before": m.before or 0.0, "after": m.after or 0.0, "p_value": m.p_value or 0.0}
    numbers |= {"noise_floor": m.noise_floor or 0.0, **m.checks}
    if m.sequential is not None:
        e = m.sequential
        numbers |= {"margin": e.margin, "log_e_safe": e.log_e_safe, "log_e_harm": e.log_e_harm}
        if m.n > e.pool:
            return f"{m.n} items of a pool of {e.pool}"
    for name, value in numbers.items():
        if not math.isfinite(value):
            return f"{name} is {value}"
    slack = ROUNDING * max(1.0, abs(m.effect))
    if not interval.low - slack <= m.effect <= interval.high + slack:
        return f"effect {m.effect:g} lies outside its interval {interval.low:g} to {interval.high:g}"
    if not 0 < interval.level < 1:
        return f"confidence level {interval.level:g} is not between 0 and 1"
    return "" if m.n >= 1 else "it rests on no items"


def _stranger(m: Measurement, result: ProbeResult) -> str:
    return "" if m.metric.startswith(f"{result.probe}/") else f"reported by {result.probe}, whose metric it is not"


def _repeated(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in Counter(names).items() if count > 1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
