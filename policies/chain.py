"""Judges an update as one of many: how far the model has moved since its anchor release, and errors over its life.

Pure functions: the state of a chain goes in, a judgement and the next state come out. Who keeps the state signs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.policies.decide import worst
from weightgate.policies.decision import Decision, RuleOutcome, Verdict
from weightgate.policies.drift import AnchorItem, Steps, judge_drift
from weightgate.policies.lifetime import Lifetime, judge_lifetime
from weightgate.policies.policy import Policy
from weightgate.probes.evidence import ProbeResult


class Judged(Protocol):
    """What is needed of an audit record."""

    @property
    def decision(self) -> Decision:
        """The verdict on the step from parent to child."""
        ...

    @property
    def results(self) -> Sequence[ProbeResult]:
        """What the probes measured."""
        ...


class ChainState(Frozen):
    """Everything later judgements need of the updates so far."""

    anchor: str = Field(description="What the chain started from, for example the fingerprint of a release.")
    scores: dict[str, dict[str, AnchorItem]] = Field(
        default_factory=dict, description="By metric and item id, the scores of the anchor release."
    )
    steps: dict[str, Steps] = Field(default_factory=dict, description="By metric, the sum of the approved steps.")
    log_e_values: tuple[float, ...] = Field(
        default=(), description="Natural logarithm of the e-value of every update judged; of one not approved, -1000."
    )
    approvals: int = Field(default=0, ge=0)


class ChainJudgement(Frozen):
    """The verdict on an update as part of its chain; the worst of it and the step's own decision counts."""

    verdict: Verdict
    rules: tuple[RuleOutcome, ...]
    lifetime: Lifetime
    state: ChainState = Field(description="The state after this update.")


def start_chain(anchor: str, record: Judged) -> ChainState:
    """A chain that starts at the child of an audit; only a person's signed decision should start one anew."""
    scores: dict[str, dict[str, AnchorItem]] = {}
    for result in record.results:
        for item in result.items:
            if item.after is not None and math.isfinite(item.after):
                scores.setdefault(item.metric, {})[item.id] = AnchorItem(score=item.after, cluster=item.cluster)
    return ChainState(anchor=anchor, scores=scores)


def judge_chain(policy: Policy, state: ChainState, record: Judged) -> ChainJudgement:
    """Judge the update of ``record``, which follows the approved updates in ``state``.

    An update that is not approved does not become the parent of the next: its step is not added to the sums, but it is
    counted among those judged.

    Raises:
        MissingExtraError: the policy asks for e-LOND and online-fdr or scipy is not installed.
    """
    drift = tuple(
        judge_drift(budget, policy.level, state.scores, state.steps, record.results)
        for budget in policy.budgets
        if budget.max_since_anchor is not None
    )
    so_far = worst((record.decision.verdict, *(rule.verdict for rule in drift)))
    lifetime, error = judge_lifetime(policy, state.log_e_values, state.approvals, so_far, record.results)
    verdict = worst((so_far, error.verdict))
    approved = verdict == "approve"
    following = ChainState(
        anchor=state.anchor,
        scores=state.scores,
        steps=_added(policy, state, record) if approved else state.steps,
        log_e_values=(*state.log_e_values, lifetime.log_e_value),
        approvals=state.approvals + approved,
    )
    return ChainJudgement(verdict=verdict, rules=(*drift, error), lifetime=lifetime, state=following)


def _added(policy: Policy, state: ChainState, record: Judged) -> dict[str, Steps]:
    measured = {m.metric: m for result in record.results for m in result.measurements}
    steps = dict(state.steps)
    for budget in policy.budgets:
        if budget.metric in measured:
            steps[budget.metric] = steps.get(budget.metric, Steps()).plus(measured[budget.metric])
    return steps
