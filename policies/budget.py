"""Judges one budget: the whole confidence interval of a metric must lie inside its margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from weightgate.policies.decision import Outcome, RuleOutcome, Verdict
from weightgate.policies.evidence_check import Evidence, unusable
from weightgate.policies.policy import Budget
from weightgate.policies.power import Reach, reach
from weightgate.policies.quantity import amount, interval, power, reading, signed
from weightgate.probes.evidence import Measurement, ProbeResult


def judge(budget: Budget, required_level: float, evidence: Evidence) -> RuleOutcome:
    """What one budget says, fail-closed: only a sound interval inside the margin passes."""
    rule = f"budget: {budget.metric}"
    if budget.metric in evidence.faults:
        return RuleOutcome(
            rule=rule,
            outcome="fail",
            verdict="block",
            metric=budget.metric,
            message=f"Its evidence is malformed: {evidence.faults[budget.metric]}.",
            remedy="correct or remove the probe that reported it, then run the audit again",
        )
    measured = evidence.metrics.get(budget.metric)
    if measured is None:
        return _missing(rule, budget, evidence)
    return _Judgement(rule, budget, measured).outcome(required_level)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """One budget beside the measurement it limits. Harm is the effect in the direction that is worse."""

    rule: str
    budget: Budget
    measured: Measurement

    @property
    def margin(self) -> float:
        """The largest harm allowed, zero or more."""
        limit = self.budget.max_drop if self.budget.max_drop is not None else self.budget.max_rise
        return math.nan if limit is None else limit

    @property
    def sign(self) -> int:
        """-1 where the budget limits a fall, +1 where it limits a rise."""
        return -1 if self.budget.max_drop is not None else 1

    def harm(self) -> tuple[float, float, float]:
        """Smallest, estimated and largest harm that the interval allows."""
        ends = sorted((self.sign * self.measured.interval.low, self.sign * self.measured.interval.high))
        return ends[0], self.sign * self.measured.effect, ends[1]

    def outcome(self, required_level: float) -> RuleOutcome:
        worse = "lower" if self.sign < 0 else "higher"
        if self.measured.worse != worse:
            wanted = "max_rise" if self.sign < 0 else "max_drop"
            return self._say(
                "fail",
                "block",
                f"The policy limits a {'fall' if self.sign < 0 else 'rise'} of {self.measured.title}, but "
                f"{self.measured.worse} is worse for this metric: the limit would never bind.",
                f"use {wanted} for {self.budget.metric} in the policy",
            )
        if not self.measured.interval.level >= required_level:
            return self._say(
                "inconclusive",
                "review",
                f"{self.sentence()}, but the policy asks for {required_level:.4g} confidence and this interval has "
                f"{self.measured.interval.level:.4g}.",
                f"have the probe report its interval at a level of {required_level:.4g} or more",
            )
        floor = self.measured.noise_floor
        if floor is not None and self.margin < floor:
            return self._say(
                "inconclusive",
                "review",
                f"{self.sentence()}, but the limit of {signed(self.sign * self.margin, self.measured.unit)} lies below "
                f"what numerical noise alone does: the parent against itself moved this by "
                f"{amount(floor, self.measured.unit)}.",
                f"set the limit on {self.budget.metric} above its noise floor, or run both sides in a higher precision",
            )
        return self._compare()

    def _compare(self) -> RuleOutcome:
        least, estimate, most = self.harm()
        limit = signed(self.sign * self.margin, self.measured.unit)
        if most <= self.margin:
            return self._say("pass", "approve", f"{self.sentence()}: all of it inside the limit of {limit}.", "")
        if least > self.margin:
            return self._say(
                "fail",
                self.budget.severity,
                f"{self.sentence()}: all of it beyond the limit of {limit}.",
                "look at the items behind this number, change the update and audit it again",
            )
        able = reach(
            estimate=estimate,
            most=most,
            margin=self.margin,
            level=self.measured.interval.level,
            n=self.measured.n,
        )
        return self._say(
            "inconclusive",
            "review",
            f"{self.sentence()}: it reaches across the limit of {limit}. Such a run approves an unchanged "
            f"model in {power(able.power)} of cases.",
            self._advice(estimate, able),
            able,
        )

    def sentence(self) -> str:
        """What was measured, for example 'Refusal rate fell by 4.2 points (…), 95 % interval … to …'."""
        m = self.measured
        moved = "rose by" if m.effect > 0 else "fell by"
        text = f"{m.title} {moved} {amount(m.effect, m.unit)}" if m.effect else f"{m.title} did not change"
        if m.before is not None and m.after is not None:
            text += f" ({reading(m.before, m.unit)} to {reading(m.after, m.unit)})"
        low, high = interval(m.interval.low, m.interval.high, m.unit)
        return f"{text}, {100 * m.interval.level:.4g} % interval {low} to {high}"

    def _advice(self, estimate: float, able: Reach) -> str:
        """How many items would settle it, were estimate and spread to stay as they are."""
        if estimate >= self.margin:
            return (
                "the estimate itself is beyond the limit, so more items would sooner confirm the harm than dispel it; "
                "look at the items behind this number"
            )
        if able.items_needed is None:
            return "the estimate lies so close to the limit that no practical number of items would settle it"
        return (
            f"measure about {able.items_needed:,} items instead of {self.measured.n:,}: they would settle it if the "
            f"estimate and its spread stay as they are (this run had {power(able.power)} power)"
        )

    def _say(
        self, outcome: Outcome, verdict: Verdict, message: str, remedy: str, able: Reach | None = None
    ) -> RuleOutcome:
        needed = able.items_needed if able is not None else None
        return RuleOutcome(
            rule=self.rule,
            outcome=outcome,
            verdict=verdict,
            message=message,
            metric=self.budget.metric,
            effect=self.measured.effect,
            interval=self.measured.interval,
            limit=self.sign * self.margin + 0.0,  # no negative zero: it has no canonical form
            power=able.power if able is not None else None,
            further_items=needed - self.measured.n if needed is not None else None,
            remedy=remedy,
        )


def missing_verdict(on_missing: Literal["block", "review", "ignore"], result: ProbeResult | None) -> Verdict:
    """'ignore' holds only for a probe that says it was skipped: absence, failure and silence are no excuse."""
    if on_missing != "ignore":
        return on_missing
    return "approve" if result is not None and result.status == "skipped" else "review"


def _missing(rule: str, budget: Budget, evidence: Evidence) -> RuleOutcome:
    probe = budget.metric.partition("/")[0]
    result = evidence.probes.get(probe)
    verdict = missing_verdict(budget.on_missing, result)
    if result is None:
        said, remedy = f"no result of probe {probe} was handed in", f"run the probe: --probes '{probe}'"
    elif reason := unusable(result):
        said, remedy = f"probe {probe} {reason}", f"settle what kept {probe} from measuring"
    else:
        names = sorted(m.metric for m in result.measurements)
        close = get_close_matches(budget.metric, names, n=1)
        said = f"probe {probe} did not report it"
        remedy = f"did the policy mean {close[0]}?" if close else f"it reports: {', '.join(names) or 'no metric'}"
    ignored = "; this policy does not insist on it" if verdict == "approve" else ""
    return RuleOutcome(
        rule=rule,
        outcome="missing",
        verdict=verdict,
        metric=budget.metric,
        message=f"{budget.metric} was not measured: {said}{ignored}.",
        remedy="" if verdict == "approve" else remedy,
    )
