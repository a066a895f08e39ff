"""How far a metric has moved since the anchor release: on the anchor's own items, or else by the sum of the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.policies.decision import Outcome, RuleOutcome, Verdict
from weightgate.policies.evidence_check import unusable
from weightgate.policies.policy import Budget
from weightgate.policies.quantity import amount, interval, signed
from weightgate.probes.evidence import Interval, Item, Measurement, ProbeResult
from weightgate.probes.statistics import Effect, StatisticsError, paired_mean, paired_proportion
from weightgate.probes.statistics.intervals import normal_quantile

LEAST_SHARE = 0.5
"""Share of the anchor's items that must have been measured again."""


Moved = tuple[float, Interval]
"""An effect and its interval."""


LIKELY = 0.8416
"""Normal quantile of 80 %: how surely a shown loss must lie inside its limit not to be blocked.

At the level of the policy a chain of updates without any loss would be blocked too often, at 50 % a chain of small
losses too late; 80 % was chosen by simulation (docs/statistics.md).
"""


class AnchorItem(Frozen):
    """One item's score at the anchor release."""

    score: float = Field(allow_inf_nan=False)
    cluster: str


class Steps(Frozen):
    """Sum of the effects of approved steps, and of the squares of their intervals' half widths."""

    effect: float = Field(default=0.0, allow_inf_nan=False)
    squares: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    count: int = Field(default=0, ge=0)

    def plus(self, m: Measurement) -> Steps:
        """With one step more."""
        half = max(m.interval.high - m.effect, m.effect - m.interval.low)
        return Steps(effect=self.effect + m.effect, squares=self.squares + half**2, count=self.count + 1)


def judge_drift(
    budget: Budget,
    level: float,
    scores: Mapping[str, Mapping[str, AnchorItem]],
    steps: Mapping[str, Steps],
    results: Sequence[ProbeResult],
) -> RuleOutcome:
    """Approve only a drift whose interval lies inside ``max_since_anchor``.

    Block one beyond it, and one that is shown and not at least likely to be inside. Where the interval is merely too
    wide, a person is asked.
    """
    probe = budget.metric.partition("/")[0]
    result = next((r for r in results if r.probe == probe), None)
    measured = next((m for m in (result.measurements if result else ()) if m.metric == budget.metric), None)
    if result is None or measured is None or unusable(result) or measured.interval.level < level:
        return _missing(budget, f"{budget.metric} was not measured on this update")
    anchor = scores.get(budget.metric, {})
    if not anchor:
        moved, basis = _by_steps(measured, steps.get(budget.metric, Steps())), "summed over the steps"
    else:
        pairs = {item.id: item for item in result.items if item.metric == budget.metric and item.after is not None}
        shared = sorted(pairs.keys() & anchor.keys())
        if len(shared) < LEAST_SHARE * len(anchor):
            return _missing(budget, f"only {len(shared)} of the anchor's {len(anchor)} items were measured again")
        try:
            moved = _by_items([pairs[name] for name in shared], [anchor[name] for name in shared], measured.unit, level)
        except StatisticsError as error:
            return _missing(budget, str(error))
        basis = f"on {len(shared)} of the anchor's items"
    return _compare(budget, measured, moved, basis)


def _by_items(now: Sequence[Item], then: Sequence[AnchorItem], unit: str, level: float) -> Moved:
    before = [item.score for item in then]
    after = [item.after if item.after is not None else math.nan for item in now]
    clusters = [item.cluster for item in then]
    effect: Effect
    if {*before, *after} <= {0.0, 1.0}:
        effect = paired_proportion([x == 1 for x in before], [x == 1 for x in after], clusters, level=level)
    else:
        bound = 1.0 if unit in {"probability", "proportion"} else None
        effect = paired_mean(before, after, clusters, level=level, bound=bound)
    return effect.effect, Interval(low=effect.low, high=effect.high, level=level, method=effect.method)


def _by_steps(m: Measurement, so_far: Steps) -> Moved:
    total = so_far.plus(m)
    half = math.sqrt(total.squares)
    return total.effect, Interval(
        low=total.effect - half,
        high=total.effect + half,
        level=m.interval.level,
        method="sum of the steps; half widths added as independent",
    )


def _compare(budget: Budget, m: Measurement, moved: Moved, basis: str) -> RuleOutcome:
    effect, span = moved
    sign = -1 if budget.max_drop is not None else 1
    limit = budget.max_since_anchor if budget.max_since_anchor is not None else math.nan
    least, most = sorted((sign * span.low, sign * span.high))
    low, high = interval(span.low, span.high, m.unit)
    told = (
        f"Since the anchor release {m.title} {'rose' if effect > 0 else 'fell'} by {amount(effect, m.unit)} {basis}, "
        f"{100 * span.level:.4g} % interval {low} to {high}"
    )
    allowed = signed(sign * limit, m.unit)
    outcome: Outcome = "inconclusive"
    verdict: Verdict = "review"
    if most <= limit:
        outcome, verdict, said, remedy = "pass", "approve", f"all of it inside the limit of {allowed}", ""
    elif least > limit:
        outcome, verdict, said = "fail", budget.severity, f"all of it beyond the limit of {allowed}"
        remedy = "go back to an earlier release, or have a person sign a new anchor"
    elif least > 0 and sign * effect + (most - sign * effect) * LIKELY / normal_quantile(span.level) > limit:
        outcome, verdict = "fail", budget.severity
        said = f"the loss is shown, and it may well exceed the limit of {allowed}"
        remedy = "repair what was lost since the anchor, or have a person sign a new anchor"
    else:
        said = f"it reaches across the limit of {allowed}"
        remedy = "measure more items, on the anchor release as well"
    return RuleOutcome(
        rule=f"drift: {budget.metric}",
        outcome=outcome,
        verdict=verdict,
        message=f"{told}: {said}.",
        metric=budget.metric,
        effect=effect,
        interval=span,
        limit=sign * limit + 0.0,
        remedy=remedy,
    )


def _missing(budget: Budget, why: str) -> RuleOutcome:
    return RuleOutcome(
        rule=f"drift: {budget.metric}",
        outcome="missing",
        verdict="block" if budget.on_missing == "block" else "review",
        metric=budget.metric,
        message=f"The drift since the anchor release is not known: {why}.",
        remedy=f"measure {budget.metric} on the anchor's items",
    )
