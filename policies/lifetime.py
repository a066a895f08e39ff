"""Errors over the life of a model: what one error of five per cent for each update adds up to, and how to bound it.

"This update is harmful" is the hypothesis and an approval its rejection. With ``method: fixed`` every update is held to
the level of the policy, and what that may add up to is told. With ``e-lond`` (Xu & Ramdas, AISTATS 2024) the bar rises
so that among approved updates the expected share of harmful ones stays below alpha, whatever ties updates together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import MissingExtraError
from weightgate.policies.decision import RuleOutcome, Verdict
from weightgate.policies.policy import Budget, Policy
from weightgate.policies.quantity import e_value
from weightgate.probes.evidence import Measurement, ProbeResult

NOTHING = -1000.0
"""Logarithm that stands for an e-value of zero in documents, which hold no infinities."""
MOST = 600.0


class Lifetime(Frozen):
    """Where the account of errors stands after an update."""

    updates: int = Field(description="Updates judged so far, this one included.")
    approvals: int = Field(description="Of these approved, this one included where it is.")
    wrong_at_most: float = Field(
        description="Expected number of wrong approvals were every update judged exactly as harmful as a limit allows."
    )
    log_e_value: float = Field(description="Natural logarithm of this update's e-value against being harmful.")
    log_threshold: float | None = Field(description="What e-LOND asks of it; None with a fixed level.")


def judge_lifetime(
    policy: Policy, earlier: Sequence[float], approvals: int, so_far: Verdict, results: Sequence[ProbeResult]
) -> tuple[Lifetime, RuleOutcome]:
    """The account after this update, and the rule that the chain adds to its verdict.

    Raises:
        MissingExtraError: e-LOND is asked for and online-fdr or scipy is not installed.
    """
    updates = len(earlier) + 1
    if policy.chain.method == "fixed":
        approved = approvals + (so_far == "approve")
        wrong = (1 - policy.level) * updates
        share = f", {min(1.0, wrong / approved):.0%} of the approved ones" if approved else ""
        message = (
            f"Update {updates} of this chain, {approved} approved. Were every update judged so far as harmful as a "
            f"limit allows, {wrong:.2g} wrong approvals were to be expected{share}."
        )
        log_e = 0.0 if so_far == "approve" else NOTHING
        account = Lifetime(
            updates=updates, approvals=approved, wrong_at_most=wrong, log_e_value=log_e, log_threshold=None
        )
        return account, RuleOutcome(rule="chain", outcome="pass", verdict="approve", message=message)
    # An e-value that is set to zero where other rules stand in the way is still one: approvals are what e-LOND rejects.
    log_e = log_e_of_update(policy, results) if so_far == "approve" else NOTHING
    threshold = _threshold(policy.chain.alpha, earlier)
    enough = log_e >= threshold
    approved = approvals + enough
    told = (
        f"Update {updates} of this chain, {approvals} approved before it: e-LOND asks for {e_value(threshold)} to keep "
        f"the share of harmful ones among approved updates below {policy.chain.alpha:.4g}; this update has "
        f"{'none that counts' if log_e == NOTHING else e_value(log_e)}."
    )
    return (
        Lifetime(
            updates=updates,
            approvals=approved,
            wrong_at_most=policy.chain.alpha * max(approved, 1),
            log_e_value=log_e,
            log_threshold=threshold,
        ),
        RuleOutcome(
            rule="chain",
            outcome="pass" if enough else "inconclusive",
            verdict="approve" if enough else "review",
            message=told,
            remedy="" if enough else "measure more items, or have a person decide",
        ),
    )


def log_e_of_update(policy: Policy, results: Sequence[ProbeResult]) -> float:
    """Smallest log e-value over the budgets that can block: an e-value for "one of them at least is exceeded".

    An intersection-union test needs no correction. A budget that was not measured contributes nothing here, and is
    judged by its own rule.
    """
    measured = {m.metric: m for result in results for m in result.measurements}
    logs = [
        _log_e(budget, measured[budget.metric])
        for budget in policy.budgets
        if budget.severity == "block" and budget.metric in measured
    ]
    return min(logs, default=NOTHING)


def _log_e(budget: Budget, m: Measurement) -> float:
    """From the betting test where there was one; else from the p-value of the interval, by the calibrator 1/(2 sqrt p).

    With G clusters no p below 2**-G is believed: that is as far as their signs can be told from chance.
    """
    margin = budget.max_drop if budget.max_drop is not None else budget.max_rise
    assert margin is not None  # noqa: S101 - a budget has exactly one
    if m.sequential is not None and m.sequential.margin == margin:
        return max(NOTHING, min(MOST, m.sequential.log_e_safe))
    try:
        from scipy.stats import t
    except ImportError as error:
        raise MissingExtraError("e-LOND over a chain of updates", "probes") from error
    sign = -1 if budget.max_drop is not None else 1
    estimate = sign * m.effect
    half = max(sign * m.interval.low, sign * m.interval.high) - estimate
    degrees = max(1, m.clusters - 1)
    room = margin - estimate
    p = 0.0 if half <= 0 < room else 1.0
    if half > 0:
        p = float(t.sf(room / half * float(t.ppf(0.5 + m.interval.level / 2, degrees)), degrees))
    p = min(1.0, max(p, 2.0 ** -min(m.clusters, 1000)))
    return -math.log(2) - math.log(p) / 2


def _threshold(alpha: float, earlier: Sequence[float]) -> float:
    """Natural logarithm of the e-value that e-LOND asks of the next update, after the ones before it."""
    try:
        from online_fdr.e_values import ELond
    except ImportError as error:
        raise MissingExtraError("e-LOND over a chain of updates", "probes") from error
    method = ELond(alpha)
    for log_e in earlier:
        method.test_one(0.0 if log_e == NOTHING else math.exp(min(log_e, MOST)))
    method.test_one(0.0)  # the level of a test does not depend on its own e-value
    level = method.current_level
    return -math.log(level) if level else MOST
