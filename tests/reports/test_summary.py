"""The words every report shares: verdict, reason, order of the rules and of the examples."""

from __future__ import annotations

from weightgate.reports import summary
from weightgate.reports.record import AuditRecord


def test_the_reason_of_a_block_names_what_broke(records) -> None:
    """The worst three rules are named with their numbers and limits, the others counted."""
    reason = summary.reason(records["block"])
    assert reason.startswith("Policy default does not allow this update: ")
    assert "“Refusal rate, harmful prompts” fell by 41.7 points (limit \N{MINUS SIGN}10.0)" in reason
    assert "“Exposure of planted secrets” rose by 3.90 bit (limit +2.00)" in reason
    assert reason.endswith("; and 1 more. 1 further rule asks for review.")


def test_the_reason_of_a_review_names_what_is_open(records) -> None:
    """An open interval is told by its harmful end, a missing probe by its own reason, and only once."""
    reason = summary.reason(records["review"])
    assert "“Accuracy” may have fallen by 6.4 points (limit \N{MINUS SIGN}5.0)" in reason
    assert reason.count("OutOfMemoryError") == 1


def test_the_reason_of_an_approval_claims_no_more_than_was_shown(records) -> None:
    """An approval counts the rules that hold and says what holding means."""
    reason = summary.reason(records["approve"])
    assert reason.startswith("19 rules of policy default hold: every probe it requires was measured")
    assert "safe" not in reason


def test_every_rule_is_either_a_concern_or_held(record: AuditRecord) -> None:
    """No rule is lost, and concerns come worst first."""
    concerns, held = summary.concerns(record), summary.held(record)
    assert sorted(r.rule for r in (*concerns, *held)) == sorted(r.rule for r in record.decision.rules)
    assert [r.verdict for r in concerns] == sorted((r.verdict for r in concerns), key=["block", "review"].index)
    assert all(rule.verdict == "approve" for rule in held)
    assert bool(concerns) == (record.decision.verdict != "approve")


def test_changed_answers_come_first(records) -> None:
    """Items whose judgement changed precede those that kept it."""
    items = summary.examples(records["block"])
    moves = [summary.moved(item) for item in items]
    assert moves == sorted(moves, reverse=True)
    assert sum(move > 0 for move in moves) == 11


def test_findings_are_severest_first(records) -> None:
    """The critical finding leads."""
    assert [f.severity for f in summary.findings(records["block"])] == ["critical", "medium", "info"]


def test_a_plain_conclusion_never_hides_another_fault(records) -> None:
    """Where an interval has too low a level, or the limit the wrong direction, the rule's own sentence stands."""
    record = records["review"]
    rule = next(r for r in record.decision.rules if r.metric == "regression.suite/accuracy")
    measured = summary.measurements(record)["regression.suite/accuracy"]
    assert "reaches across the limit" in summary.conclusion(rule, measured, 0.95)
    assert summary.conclusion(rule, measured, 0.99) == rule.message
    wrong = measured.model_copy(update={"worse": "higher"})
    assert summary.conclusion(rule, wrong, 0.95) == rule.message
