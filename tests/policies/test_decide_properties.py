"""Laws of deciding: tampering with evidence never earns an approval, and order never matters."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.policies.decide import decide
from weightgate.policies.policy import Budget, Policy, Requirement
from weightgate.probes.evidence import SEVERITIES, ControlOutcome, Finding, Interval, Measurement, ProbeResult

PROBES = ("a.one", "a.two", "b.three")
METRICS = tuple(f"{probe}/{name}" for probe in PROBES for name in ("x", "y"))
ON_MISSING = st.sampled_from(["block", "review", "ignore"])
WORSE = {metric: "lower" if metric.endswith("x") else "higher" for metric in METRICS}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies that mention every probe, and every metric whose items they count: what is not named is not missed."""
    budgets = [
        Budget(
            metric=metric,
            max_drop=0.5 if WORSE[metric] == "lower" else None,
            max_rise=0.5 if WORSE[metric] == "higher" else None,
            severity=draw(st.sampled_from(["block", "review"])),
            on_missing=draw(ON_MISSING),
        )
        for metric in draw(st.lists(st.sampled_from(METRICS), min_size=1, unique=True))
    ]
    named = {budget.metric for budget in budgets}
    counted = [p for p in PROBES if all(m in named for m in METRICS if m.startswith(p))]
    require = [
        Requirement(probe=p, min_n=draw(st.sampled_from([1, 50])) if p in counted else 1, on_missing=draw(ON_MISSING))
        for p in PROBES
    ]
    return Policy(name="p", version=1, require=tuple(require), budgets=tuple(budgets))


@st.composite
def results(draw: st.DrawFn) -> tuple[ProbeResult, ...]:
    """Results that are mostly good, so that approvals are common enough to be lost."""
    return tuple(draw(_result(probe)) for probe in PROBES if draw(st.sampled_from([True] * 5 + [False])))


@st.composite
def _result(draw: st.DrawFn, probe: str) -> ProbeResult:
    status = draw(st.sampled_from(["measured"] * 8 + ["skipped", "failed"]))
    findings = draw(st.lists(st.sampled_from(SEVERITIES), max_size=1)) if draw(st.booleans()) else []
    return ProbeResult(
        probe=probe,
        version="1",
        family="alignment",
        status=status,
        measurements=tuple(draw(_measurement(m)) for m in METRICS if m.startswith(probe))
        if status == "measured"
        else (),
        findings=tuple(Finding(rule="r", severity=s, title=s, detail="", where="") for s in findings),
        control=draw(st.sampled_from([None] * 4 + [ControlOutcome(fired=f, detail="") for f in (True, False)])),
    )


@st.composite
def _measurement(draw: st.DrawFn, metric: str) -> Measurement:
    effect = draw(st.sampled_from([0.0, 0.1, -0.1, 0.45, -0.45, 2.0, -2.0]))
    half = draw(st.sampled_from([0.0, 0.1, 1.0]))
    level = draw(st.sampled_from([0.95] * 5 + [0.9, 0.99]))
    return Measurement(
        metric=metric,
        title=metric,
        unit="nat",
        worse=WORSE[metric],
        before=0.0,
        after=effect,
        effect=effect,
        interval=Interval(low=effect - half, high=effect + half, level=level, method=""),
        n=draw(st.sampled_from([100] * 5 + [10])),
        clusters=2,
        p_value=None,
        method="",
    )


@st.composite
def tampered(draw: st.DrawFn, evidence: tuple[ProbeResult, ...]) -> tuple[ProbeResult, ...]:
    """The evidence with one thing dropped, repeated or turned into a NaN."""
    if not evidence:
        return evidence
    i = draw(st.integers(0, len(evidence) - 1))
    result, others = evidence[i], evidence[:i] + evidence[i + 1 :]
    kind = draw(st.sampled_from(["drop result", "repeat result", "drop", "repeat", "nan", "fail"]))
    if kind == "drop result":
        return others
    if kind == "repeat result":
        return (*evidence, result)
    if kind == "fail":
        return (*others, result.model_copy(update={"status": "failed"}))
    if not result.measurements:
        return evidence
    j = draw(st.integers(0, len(result.measurements) - 1))
    target, rest = result.measurements[j], result.measurements[:j] + result.measurements[j + 1 :]
    changed = {"drop": rest, "repeat": (*result.measurements, target)}.get(kind) or (*rest, draw(_with_nan(target)))
    return (*others, result.model_copy(update={"measurements": changed}))


@st.composite
def _with_nan(draw: st.DrawFn, m: Measurement) -> Measurement:
    field = draw(st.sampled_from(["effect", "before", "after", "low", "high", "level"]))
    if field in ("effect", "before", "after"):
        return m.model_copy(update={field: math.nan})
    return m.model_copy(update={"interval": m.interval.model_copy(update={field: math.nan})})


@given(policies(), results(), st.data())
@settings(max_examples=400, deadline=None)
def test_tampering_never_earns_an_approval(
    policy: Policy, evidence: tuple[ProbeResult, ...], data: st.DataObject
) -> None:
    """Dropping, repeating or spoiling any evidence never turns another verdict into approve."""
    verdict = decide(policy, evidence).verdict
    spoiled = evidence
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled = data.draw(tampered(spoiled))
    assert verdict == "approve" or decide(policy, spoiled).verdict != "approve"


@given(policies(), results(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_never_matters(policy: Policy, evidence: tuple[ProbeResult, ...], random) -> None:
    """Evidence in another order gives the same decision, word for word."""
    shuffled = [
        r.model_copy(update={"measurements": tuple(random.sample(r.measurements, len(r.measurements)))})
        for r in random.sample(evidence, len(evidence))
    ]
    assert decide(policy, shuffled) == decide(policy, evidence)


@given(policies(), results())
@settings(max_examples=400, deadline=None)
def test_approval_means_that_every_interval_is_inside(policy: Policy, evidence: tuple[ProbeResult, ...]) -> None:
    """An approval has each budget's whole interval inside its margin, or an explicitly excused and skipped probe."""
    if decide(policy, evidence).verdict != "approve":
        return
    by_probe = {r.probe: r for r in evidence}
    for budget in policy.budgets:
        result = by_probe[budget.metric.partition("/")[0]]
        if result.status == "skipped":
            assert budget.on_missing == "ignore"
            continue
        interval = next(m.interval for m in result.measurements if m.metric == budget.metric)
        assert interval.level >= policy.level
        assert interval.low >= -budget.max_drop if budget.max_drop is not None else interval.high <= budget.max_rise


@given(policies(), results())
@settings(max_examples=200, deadline=None)
def test_the_verdict_is_the_worst_rule(policy: Policy, evidence: tuple[ProbeResult, ...]) -> None:
    """Any rule that blocks blocks the update; any other open rule reviews it."""
    decision = decide(policy, evidence)
    verdicts = {rule.verdict for rule in decision.rules}
    expected = "block" if "block" in verdicts else "review" if "review" in verdicts else "approve"
    assert decision.verdict == expected
    assert all(rule.verdict == "approve" for rule in decision.rules if rule.outcome == "pass")
    assert len(decision.rules) == 2 + len(policy.require) + len(policy.budgets)
