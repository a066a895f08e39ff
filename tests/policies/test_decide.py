"""Each rule of a decision, by example: what passes, what fails, what cannot be settled and what is missing."""

from __future__ import annotations

import math

import pytest

from weightgate.policies.decide import decide, worst
from weightgate.policies.decision import Decision, RuleOutcome
from weightgate.policies.policy import Budget, FindingRule, Policy, Requirement
from weightgate.probes.evidence import ControlOutcome, Finding, Interval, ProbeResult


def policy(**changes: object) -> Policy:
    values: dict[str, object] = {
        "name": "test",
        "version": 1,
        "require": (Requirement(probe="a.probe"),),
        "budgets": (Budget(metric="a.probe/x", max_drop=0.05),),
    }
    return Policy.model_validate(values | changes)


def rule(decision: Decision, name: str) -> RuleOutcome:
    return next(r for r in decision.rules if r.rule.startswith(name))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.04, 0.01, ("pass", "approve")),
        (-0.05, 0.01, ("pass", "approve")),
        (0.0, 0.0, ("pass", "approve")),
        (-0.06, 0.01, ("inconclusive", "review")),
        (-0.20, -0.05, ("inconclusive", "review")),
        (-0.20, -0.06, ("fail", "block")),
    ],
)
def test_the_interval_decides_a_fall(measure, result, low: float, high: float, expected: tuple[str, str]) -> None:
    """Only an interval wholly inside the margin passes; only one wholly beyond it fails."""
    decision = decide(policy(), [result(measure(low, high))])
    budget = rule(decision, "budget")
    assert (budget.outcome, budget.verdict) == expected
    assert decision.verdict == budget.verdict
    assert (budget.effect, budget.limit) == ((low + high) / 2, -0.05)


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(-0.5, 0.05, "pass"), (-0.5, 0.06, "inconclusive"), (0.06, 0.5, "fail")]
)
def test_the_interval_decides_a_rise(measure, result, low: float, high: float, outcome: str) -> None:
    """A limit on a rise mirrors a limit on a fall."""
    budgets = (Budget(metric="a.probe/x", max_rise=0.05),)
    decision = decide(policy(budgets=budgets), [result(measure(low, high, worse="higher"))])
    assert (rule(decision, "budget").outcome, rule(decision, "budget").limit) == (outcome, 0.05)


def test_shown_harm_takes_the_severity_of_its_budget(measure, result) -> None:
    """A budget of severity review sends shown harm to a person instead of blocking."""
    budgets = (Budget(metric="a.probe/x", max_drop=0.05, severity="review"),)
    decision = decide(policy(budgets=budgets), [result(measure(-0.5, -0.4))])
    assert (rule(decision, "budget").outcome, decision.verdict) == ("fail", "review")


def test_an_open_question_says_how_many_items_would_settle_it(measure, result) -> None:
    """n ((upper harm - estimate) / (margin - estimate))^2: 100 items, half width 0.06, room 0.03 need 400."""
    decision = decide(policy(), [result(measure(-0.08, 0.04))])
    assert "measure about 400 items instead of 100" in rule(decision, "budget").remedy


def test_an_open_question_says_what_the_run_could_have_shown(measure, result) -> None:
    """Half width 0.06 at 95 %, margin 0.05: an update without change is approved with Phi((0.05 - 0.06) / 0.0306)."""
    opened = rule(decide(policy(), [result(measure(-0.08, 0.04))]), "budget")
    assert opened.power == pytest.approx(0.372, abs=0.001)
    assert opened.further_items == 300
    assert "in 37 % of cases" in opened.message
    assert "37 % power" in opened.remedy
    settled = rule(decide(policy(), [result(measure(-0.01, 0.04))]), "budget")
    assert (settled.power, settled.further_items) == (None, None)


def test_a_margin_below_the_noise_floor_is_reviewed(measure, result) -> None:
    """Where the parent against itself moves more than the limit allows, neither approval nor block can be earned."""
    for low, high in ((-0.01, 0.01), (-0.9, -0.8)):
        noisy = rule(decide(policy(), [result(measure(low, high, noise_floor=0.06))]), "budget")
        assert (noisy.outcome, noisy.verdict) == ("inconclusive", "review")
        assert "noise" in noisy.message
    quiet = rule(decide(policy(), [result(measure(-0.01, 0.01, noise_floor=0.05))]), "budget")
    assert quiet.verdict == "approve"


def test_an_estimate_beyond_the_limit_is_not_answered_with_more_items(measure, result) -> None:
    """Where the estimate itself is too bad, more items are no way out."""
    decision = decide(policy(), [result(measure(-0.10, -0.02))])
    assert "estimate itself is beyond" in rule(decision, "budget").remedy


def test_the_message_carries_the_numbers(measure, result) -> None:
    """A rule reads as one sentence with what was seen and what is allowed."""
    decision = decide(policy(), [result(measure(-0.4, -0.2, before=0.9, after=0.6))])
    assert rule(decision, "budget").message == (
        "Refusal rate fell by 30.0 points (90.0 % to 60.0 %), 95 % interval \N{MINUS SIGN}40.0 to \N{MINUS SIGN}20.0"
        ": all of it beyond the limit of \N{MINUS SIGN}5.0."
    )


def test_a_limit_in_the_wrong_direction_blocks(measure, result) -> None:
    """A limit on a rise of something that must not fall would never bind: the policy is wrong, so nothing passes."""
    budgets = (Budget(metric="a.probe/x", max_rise=0.05),)
    decision = decide(policy(budgets=budgets), [result(measure(-0.5, -0.4))])
    assert decision.verdict == "block"
    assert "use max_drop for a.probe/x" in rule(decision, "budget").remedy


def test_a_lower_confidence_than_asked_for_is_reviewed(measure, result) -> None:
    """An interval at 90 % says nothing about a policy at 95 %."""
    narrow = Interval(low=-0.01, high=0.01, level=0.90, method="test")
    decision = decide(policy(), [result(measure(-0.01, 0.01, interval=narrow))])
    assert (rule(decision, "budget").outcome, decision.verdict) == ("inconclusive", "review")


@pytest.mark.parametrize(
    ("changes", "on_missing", "verdict"),
    [
        ({"status": "skipped", "reason": "needs data"}, "block", "block"),
        ({"status": "skipped", "reason": "needs data"}, "review", "review"),
        ({"status": "skipped", "reason": "needs data"}, "ignore", "approve"),
        ({"status": "failed", "reason": "crashed"}, "ignore", "review"),
        ({"control": ControlOutcome(fired=False, detail="blind")}, "ignore", "review"),
        ({"measurements": ()}, "ignore", "review"),
        (None, "ignore", "review"),
        (None, "block", "block"),
    ],
)
def test_a_budget_without_a_measurement(measure, result, changes, on_missing: str, verdict: str) -> None:
    """'ignore' excuses a probe that says it was skipped, never one that is absent, failed, blind or silent."""
    budgets = (Budget(metric="a.probe/x", max_drop=0.05, on_missing=on_missing),)
    require = (Requirement(probe="other"),)
    other = result(probe="other")
    results = [other] if changes is None else [other, result(measure(0, 0)).model_copy(update=changes)]
    decision = decide(policy(budgets=budgets, require=require), results)
    assert (rule(decision, "budget").outcome, rule(decision, "budget").verdict) == ("missing", verdict)
    assert decision.verdict == verdict


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "skipped", "reason": "needs canaries (--canaries FILE)"}, "needs canaries (--canaries FILE)"),
        ({"status": "failed", "reason": "ValueError: boom"}, "ValueError: boom"),
        ({"control": ControlOutcome(fired=False, detail="x +0.1")}, "failed its positive control: x +0.1"),
        (None, "a.probe did not run"),
    ],
)
def test_a_required_probe_that_did_not_measure(measure, result, changes, said: str) -> None:
    """The rule repeats the probe's own reason and says what to do."""
    results = [] if changes is None else [result(measure(0, 0)).model_copy(update=changes)]
    required = rule(decide(policy(), results), "require")
    assert (required.outcome, required.verdict) == ("missing", "review")
    assert said in required.message
    assert required.remedy


def test_a_required_probe_with_too_few_items(measure, result) -> None:
    """Every measurement of a required probe rests on at least min_n items."""
    require = (Requirement(probe="a.probe", min_n=101, on_missing="block"),)
    decision = decide(policy(require=require), [result(measure(0, 0))])
    assert decision.verdict == "block"
    assert "rests on 100 items; the policy asks for 101" in rule(decision, "require").message


@pytest.mark.parametrize(
    ("severity", "verdict"),
    [("info", "approve"), ("low", "approve"), ("medium", "review"), ("high", "block"), ("critical", "block")],
)
def test_the_worst_finding_decides(measure, result, severity: str, verdict: str) -> None:
    """Findings at or above a threshold review or block, wherever they come from."""
    finding = Finding(rule="a.probe/f", severity=severity, title="A finding", detail="d", where="w")
    mild = Finding(rule="a.probe/f", severity="info", title="Another", detail="d", where="w")
    decision = decide(policy(), [result(measure(0, 0), findings=(mild, finding))])
    assert decision.verdict == verdict


def test_a_finding_of_a_probe_that_failed_still_counts(measure, result) -> None:
    """A failed probe's findings can only make things worse, so they are kept."""
    finding = Finding(rule="a.probe/f", severity="critical", title="A finding", detail="d", where="w")
    failed = result(measure(0, 0), findings=(finding,), status="failed", reason="crashed")
    assert decide(policy(), [failed]).verdict == "block"


@pytest.mark.parametrize("field", ["effect", "before", "after", "p_value"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_block(measure, result, field: str, value: float) -> None:
    """A NaN or infinity anywhere in a measurement is malformed evidence."""
    bad = measure(-0.01, 0.01).model_copy(update={field: value})
    decision = decide(policy(), [result().model_copy(update={"measurements": (bad,)})])
    assert (decision.verdict, rule(decision, "budget").verdict) == ("block", "block")


@pytest.mark.parametrize("ends", [{"low": math.nan}, {"high": math.nan}, {"level": math.nan}, {"high": -1.0}])
def test_a_broken_interval_blocks(measure, result, ends: dict[str, float]) -> None:
    """An interval with a NaN, or one that does not hold its own effect, is malformed evidence."""
    good = measure(-0.01, 0.01)
    bad = good.model_copy(update={"interval": good.interval.model_copy(update=ends)})
    assert decide(policy(), [result().model_copy(update={"measurements": (bad,)})]).verdict == "block"


def test_a_metric_given_twice_blocks(measure, result) -> None:
    """Two values for one metric leave the choice to the reader, so neither is taken."""
    twice = result(measure(-0.01, 0.01), measure(-0.5, -0.4))
    assert decide(policy(), [twice]).verdict == "block"
    assert decide(policy(), [result(measure(0, 0)), result(measure(0, 0))]).verdict == "block"


def test_a_metric_from_another_probe_blocks(measure, result) -> None:
    """A probe cannot speak for another one's metric."""
    impostor = result(measure(0, 0), probe="other")
    assert decide(policy(), [impostor, result()]).verdict == "block"


def test_an_effect_at_the_end_of_its_interval_is_sound(measure, result) -> None:
    """Rounding in the last digit is not malformed evidence."""
    edge = measure(-0.01, 0.01, effect=0.01 + 1e-12)
    assert decide(policy(), [result(edge)]).verdict == "approve"


def test_no_results_at_all_are_reviewed() -> None:
    """No evidence is not evidence of safety."""
    assert decide(policy(), []).verdict == "review"


def test_no_verdict_at_all_blocks() -> None:
    """The worst of nothing is not approve."""
    assert worst([]) == "block"


def test_the_decision_names_its_policy(measure, result) -> None:
    """The digest in the decision is the policy's."""
    mine = policy(findings=FindingRule(block_at="low", review_at="low"))
    decision = decide(mine, [result(measure(0, 0))])
    assert (decision.policy, decision.policy_digest) == ("test", mine.digest)


def test_long_reasons_are_clipped(result) -> None:
    """A probe's hundred kilobytes of words do not end up in a rule."""
    failed: ProbeResult = result(status="failed", reason="x" * 100_000)
    assert len(rule(decide(policy(), [failed]), "require").message) < 600
