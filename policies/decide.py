"""The decision. Pure: no input or output, no clock, no randomness; the order of the evidence does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weightgate.policies.budget import judge, missing_verdict
from weightgate.policies.decision import Decision, RuleOutcome, Verdict
from weightgate.policies.evidence_check import Evidence, unusable
from weightgate.policies.policy import FindingRule, Policy, Requirement
from weightgate.policies.quantity import count
from weightgate.probes.evidence import SEVERITIES, Finding, ProbeResult

_RANK: dict[Verdict, int] = {"approve": 0, "review": 1, "block": 2}


def decide(policy: Policy, results: Sequence[ProbeResult]) -> Decision:
    """Judge the evidence by the policy: the worst verdict over all rules.

    The rules are, in order: the evidence itself is sound; each required probe was measured; each budget's interval lies
    inside its margin; no finding is too severe. Nothing that is missing, malformed or blind to its own positive control
    counts as good news.
    """
    evidence = Evidence.collect(results)
    rules = (
        evidence.rule(),
        *(_required(requirement, evidence) for requirement in policy.require),
        *(judge(budget, policy.level, evidence) for budget in policy.budgets),
        _found(policy.findings, results),
    )
    return Decision(
        verdict=worst(rule.verdict for rule in rules),
        policy=policy.name,
        policy_digest=policy.digest,
        rules=rules,
    )


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Any block blocks, else any review reviews, else approve. Of no verdict at all: block."""
    return max(verdicts, key=_RANK.__getitem__, default="block")


def _required(requirement: Requirement, evidence: Evidence) -> RuleOutcome:
    rule, probe = f"require: {requirement.probe}", requirement.probe
    result = evidence.probes.get(probe)
    if result is None:
        message, remedy = f"{probe} did not run.", f"run it: --probes '{probe}'"
    elif reason := unusable(result):
        message, remedy = f"{probe} {reason.rstrip('.')}.", _how_to_measure(result)
    else:
        short = sorted((m.n, m.metric) for m in result.measurements if not m.n >= requirement.min_n)
        if not short:
            return RuleOutcome(rule=rule, outcome="pass", verdict="approve", message=_was_measured(result))
        fewest, metric = short[0]
        message = f"{metric} rests on {count(fewest, 'item')}; the policy asks for {requirement.min_n} or more."
        remedy = f"give {probe} at least {requirement.min_n} items"
    verdict = missing_verdict(requirement.on_missing, result)
    if verdict == "approve":
        message, remedy = f"{message} This policy does not insist on it.", ""
    return RuleOutcome(rule=rule, outcome="missing", verdict=verdict, message=message, remedy=remedy)


def _how_to_measure(result: ProbeResult) -> str:
    if result.status == "skipped":
        return f"supply what {result.probe} asks for and run the audit again"
    if result.status == "failed":
        return "correct what made the probe fail and run the audit again"
    return "do not trust this probe on this model before it finds its own planted defect"


def _was_measured(result: ProbeResult) -> str:
    if not result.measurements:
        return f"{result.probe} ran to its end."
    fewest = min(m.n for m in result.measurements)
    return f"{result.probe} measured {count(len(result.measurements), 'metric')} on {count(fewest, 'item')} or more."


def _found(rule: FindingRule, results: Sequence[ProbeResult]) -> RuleOutcome:
    found = sorted((f for result in results for f in result.findings), key=_severest_first)
    worst_rank = max((SEVERITIES.index(f.severity) for f in found), default=-1)
    if worst_rank >= SEVERITIES.index(rule.block_at):
        verdict: Verdict = "block"
    elif worst_rank >= SEVERITIES.index(rule.review_at):
        verdict = "review"
    else:
        several = (
            "The one finding does not reach" if len(found) == 1 else f"None of {count(len(found), 'finding')} reaches"
        )
        said = several if found else "No findings: none to reach"
        return RuleOutcome(
            rule="findings", outcome="pass", verdict="approve", message=f"{said} severity {rule.review_at}."
        )
    threshold = rule.block_at if verdict == "block" else rule.review_at
    return RuleOutcome(
        rule="findings",
        outcome="fail",
        verdict=verdict,
        message=f"{_list_findings(found, threshold)} (this policy {verdict}s from severity {threshold} up).",
        remedy="read each finding and where it was seen; change the update or its data and audit it again",
    )


def _list_findings(found: Sequence[Finding], threshold: str) -> str:
    severe = [f for f in found if SEVERITIES.index(f.severity) >= SEVERITIES.index(threshold)]
    named = "; ".join(f"{f.severity}: {f.title[:200]}" for f in severe[:3])
    return named + (f"; and {len(severe) - 3} more" if len(severe) > 3 else "")


def _severest_first(finding: Finding) -> tuple[int, str, str, str]:
    return -SEVERITIES.index(finding.severity), finding.rule, finding.title, finding.where
