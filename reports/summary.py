"""What every report says first: the verdict in words, the reason in one paragraph, the rules in order of concern."""

from __future__ import annotations

from collections.abc import Sequence

from weightgate.policies.decision import RuleOutcome, Verdict
from weightgate.policies.quantity import amount, count, interval, power, signed
from weightgate.probes.evidence import SEVERITIES, Finding, Item, Measurement
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief

VERDICTS: dict[Verdict, str] = {"approve": "Approved", "block": "Blocked", "review": "Needs review"}
EXIT_CODES: dict[Verdict, int] = {"approve": 0, "block": 1, "review": 3}
CAVEAT = (
    "Approval means that the policy's limits held on what was measured. It does not mean that the model is safe, and "
    "no verdict is a statement of legal compliance."
)
_VERDICT_ORDER: tuple[Verdict, ...] = ("block", "review", "approve")
_OUTCOME_ORDER = ("fail", "inconclusive", "missing", "pass")
_NAMED = 3


def outcome_word(rule: RuleOutcome) -> str:
    """One or two words for what a rule said."""
    if rule.outcome == "missing":
        return "Excused" if rule.verdict == "approve" else "Not measured"
    return {"pass": "Holds", "fail": "Broken", "inconclusive": "Open"}[rule.outcome]


def by_concern(rules: Sequence[RuleOutcome]) -> tuple[RuleOutcome, ...]:
    """Blocking rules first, then those for review, then those that hold; within each in the order of the policy."""
    return tuple(
        sorted(rules, key=lambda rule: (_VERDICT_ORDER.index(rule.verdict), _OUTCOME_ORDER.index(rule.outcome)))
    )


def concerns(record: AuditRecord) -> tuple[RuleOutcome, ...]:
    """The rules that stand in the way of an approval, worst first."""
    return tuple(rule for rule in by_concern(record.decision.rules) if rule.verdict != "approve")


def held(record: AuditRecord) -> tuple[RuleOutcome, ...]:
    """The rules that hold or are excused, excused ones first."""
    return tuple(rule for rule in by_concern(record.decision.rules) if rule.verdict == "approve")


def measurements(record: AuditRecord) -> dict[str, Measurement]:
    """Each measurement of the record by its metric."""
    return {m.metric: m for result in record.results for m in result.measurements}


def title(rule: RuleOutcome, measured: Measurement | None) -> str:
    """What a rule is about, in words where its metric has some."""
    if measured is not None:
        return measured.title
    if rule.rule == "evidence":
        return "Soundness of the evidence"
    if rule.rule == "findings":
        return "Findings"
    kind, _, name = rule.rule.partition(": ")
    return f"Required probe {name}" if kind == "require" else name


def conclusion(rule: RuleOutcome, measured: Measurement | None, required_level: float) -> str:
    """What follows, where the numbers stand beside it; the rule's whole sentence where something else is the matter."""
    if measured is None or rule.limit is None or rule.interval is None:
        return rule.message
    noisy = rule.outcome == "inconclusive" and rule.power is None
    judged = not noisy and rule.interval.level >= required_level and (measured.worse == "lower") == (rule.limit <= 0)
    able = "" if rule.power is None else f" Such a run approves an unchanged model in {power(rule.power)} of cases."
    said = {
        "fail": "The whole interval lies beyond the limit: the harm is shown.",
        "inconclusive": "The interval reaches across the limit: neither the harm nor its absence is shown." + able,
        "pass": "The whole interval lies inside the limit.",
    }
    return said.get(rule.outcome, rule.message) if judged else rule.message


def change(measured: Measurement) -> str:
    """The effect and its interval without the unit, for example '+3.1 [+0.2, +6.0]'."""
    low, high = interval(measured.interval.low, measured.interval.high, measured.unit)
    scale = max(abs(measured.interval.low), abs(measured.interval.high))
    return f"{signed(measured.effect, measured.unit, scale)} [{low}, {high}]"


def reason(record: AuditRecord) -> str:
    """Why, in one plain paragraph."""
    rules, open_rules = record.decision.rules, concerns(record)
    policy = brief(record.policy.name, 60)
    if not open_rules:
        excused = sum(rule.outcome == "missing" for rule in rules)
        aside = (
            f" {count(excused, 'rule')} about evidence that was not supplied {_was(excused)} excused."
            if excused
            else ""
        )
        return (
            f"{count(len(rules) - excused, 'rule')} of policy {policy} "
            f"{'hold' if len(rules) - excused != 1 else 'holds'}: every probe it requires was measured, every interval "
            f"lies inside its limit, and no finding reaches severity {record.policy.findings.review_at}.{aside}"
        )
    worst = [rule for rule in open_rules if rule.verdict == record.decision.verdict]
    worst = [rule for rule in worst if not _follows(rule, worst)]
    named = "; ".join(_in_brief(record, rule) for rule in worst[:_NAMED])
    more = f"; and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
    rest = sum(rule.verdict != record.decision.verdict for rule in open_rules)
    aside = f" {count(rest, 'further rule')} {'ask' if rest != 1 else 'asks'} for review." if rest else ""
    if record.decision.verdict == "block":
        opening = f"Policy {policy} does not allow this update"
    else:
        opening = f"Nothing that blocks was found, but policy {policy} asks a person to decide"
    return f"{opening}: {named}{more}.{aside}"


def examples(record: AuditRecord) -> tuple[Item, ...]:
    """Items with a text on both sides: those whose value changed most first, then those that kept it."""
    texts = [
        item
        for result in record.results
        for item in result.items
        if item.before_text is not None and item.after_text is not None
    ]
    return tuple(sorted(texts, key=lambda item: -moved(item)))


def moved(item: Item) -> float:
    """How far the value of an item moved; zero where a side has none."""
    if item.before is None or item.after is None:
        return 0.0
    distance = abs(item.after - item.before)
    return distance if distance == distance else 0.0  # noqa: PLR0124 - a NaN sorts as no change


def findings(record: AuditRecord) -> tuple[Finding, ...]:
    """All findings, severest first."""
    found = [finding for result in record.results for finding in result.findings]
    return tuple(sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity)))


def _in_brief(record: AuditRecord, rule: RuleOutcome) -> str:
    measured = measurements(record).get(rule.metric or "")
    if measured is None or rule.effect is None or rule.limit is None:
        text = brief(rule.message.removesuffix("."), 240)
        return text[:1].lower() + text[1:] if text[:2].istitle() else text
    limit = f"(limit {signed(rule.limit, measured.unit)})"
    falls, name = measured.worse == "lower", f"“{brief(measured.title, 100)}”"
    if rule.outcome == "inconclusive":
        end = measured.interval.low if falls else measured.interval.high
        return f"{name} may have {'fallen' if falls else 'risen'} by {amount(end, measured.unit)} {limit}"
    return f"{name} {'rose' if rule.effect > 0 else 'fell'} by {amount(rule.effect, measured.unit)} {limit}"


def _follows(rule: RuleOutcome, others: Sequence[RuleOutcome]) -> bool:
    """A budget that was not measured because its required probe was not."""
    probe = (rule.metric or "").partition("/")[0]
    return rule.outcome == "missing" and any(other.rule == f"require: {probe}" for other in others)


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
