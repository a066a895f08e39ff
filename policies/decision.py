"""The decision: a verdict, and every rule that led to it with the numbers it saw."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.probes.evidence import Interval

Verdict = Literal["approve", "block", "review"]
Outcome = Literal["pass", "fail", "inconclusive", "missing"]


class RuleOutcome(Frozen):
    """What one rule of the policy said."""

    rule: str = Field(
        description="'evidence', 'require: PROBE', 'budget: METRIC', 'drift: METRIC', 'chain' or 'findings'."
    )
    outcome: Outcome
    verdict: Verdict = Field(description="What this rule alone would have decided.")
    message: str = Field(description="One sentence with the numbers: what was seen against what is allowed.")
    metric: str | None = None
    effect: float | None = None
    interval: Interval | None = None
    limit: float | None = Field(
        default=None, description="Signed margin on the scale of `effect` (a max_drop is negative)."
    )
    power: float | None = Field(
        default=None,
        description="Where it stayed open: chance that a run like this one approves an unchanged model.",
    )
    further_items: int | None = Field(
        default=None, description="Items beyond those measured that would settle it, as far as can be told."
    )
    remedy: str = Field(default="", description="What would settle it: supply data, measure n more items, …")


class Decision(Frozen):
    """The worst verdict over all rules: any block blocks, else any review reviews, else approve."""

    verdict: Verdict
    policy: str
    policy_digest: str
    rules: tuple[RuleOutcome, ...]
