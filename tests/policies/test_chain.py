"""Chains of updates: small losses add up, the account of errors is kept, and nothing that is missing passes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from weightgate.policies.chain import ChainState, judge_chain, start_chain
from weightgate.policies.decide import decide
from weightgate.policies.decision import Decision
from weightgate.policies.policy import Budget, Chain, Policy, Requirement
from weightgate.probes.evidence import Interval, Item, Measurement, ProbeResult, Sequential
from weightgate.probes.statistics import measurement, paired_proportion

METRIC = "a.probe/x"
ITEMS = 1000


@dataclass(frozen=True)
class Record:
    decision: Decision
    results: tuple[ProbeResult, ...]


def policy(**chain: Any) -> Policy:
    return Policy(
        name="p",
        version=1,
        require=(Requirement(probe="a.probe"),),
        budgets=(Budget(metric=METRIC, max_drop=0.05, max_since_anchor=0.05),),
        chain=Chain(**chain),
    )


def update(before: np.ndarray, after: np.ndarray, *, items: bool = True, rules: Policy | None = None) -> Record:
    """An audited update with the scores of every item."""
    effect = paired_proportion(before.tolist(), after.tolist(), range(len(before)))
    known = measurement(effect, metric=METRIC, title="Right answers", unit="proportion", worse="lower")
    told = tuple(
        Item(metric=METRIC, id=f"i{k}", cluster=f"c{k}", prompt="", before=float(b), after=float(a))
        for k, (b, a) in enumerate(zip(before, after, strict=True))
    )
    result = ProbeResult(
        probe="a.probe",
        version="1",
        family="regression",
        status="measured",
        measurements=(known,),
        items=told if items else (),
    )
    return Record(decide(rules or policy(), [result]), (result,))


def chain(rng: np.random.Generator, lost: float, won: float, steps: int, *, items: bool = True) -> list[str]:
    """Verdicts of the chain until one is not an approval."""
    right = rng.random(ITEMS) < 0.7
    state = start_chain("release", update(right, right, items=items))
    verdicts = []
    for _ in range(steps):
        draw, share = rng.random(ITEMS), right.mean()
        after = np.where(right, draw >= lost / share, draw < won / (1 - share))
        judged = judge_chain(policy(), state, update(right, after, items=items))
        verdicts.append(judged.verdict)
        if judged.verdict != "approve":
            break
        state, right = judged.state, after
    return verdicts


@pytest.mark.parametrize("seed", range(5))
def test_twenty_small_losses_are_stopped_when_their_sum_is_too_large(seed: int) -> None:
    """One point a step passes every step gate; the chain stops no later than the step that crosses five points."""
    verdicts = chain(np.random.default_rng(seed), 0.0105, 0.0005, 20)
    assert verdicts[-1] in {"block", "review"}
    assert 2 <= len(verdicts) <= 6
    assert set(verdicts[:-1]) == {"approve"}


@pytest.mark.parametrize("seed", range(3))
def test_changes_without_a_loss_go_on(seed: int) -> None:
    """Half a per cent of flips a step, no loss: twenty updates are approved."""
    assert chain(np.random.default_rng(seed), 0.0025, 0.0025, 20) == ["approve"] * 20


def test_without_items_the_steps_are_summed() -> None:
    """Where a metric has no items the effects of the approved steps are added, and their errors."""
    verdicts = chain(np.random.default_rng(1), 0.0105, 0.0005, 20, items=False)
    assert verdicts[-1] != "approve"
    assert len(verdicts) <= 6


def test_a_refused_update_is_counted_but_not_added() -> None:
    """It does not become the parent of the next one."""
    rng = np.random.default_rng(2)
    right = rng.random(ITEMS) < 0.7
    state = start_chain("release", update(right, right))
    judged = judge_chain(policy(), state, update(right, np.zeros(ITEMS, dtype=bool)))
    assert judged.verdict == "block"
    assert judged.state.steps == state.steps
    assert (judged.state.approvals, len(judged.state.log_e_values)) == (0, 1)
    again = judge_chain(policy(), judged.state, update(right, right))
    assert (again.verdict, again.lifetime.updates, again.lifetime.approvals) == ("approve", 2, 1)


def test_the_running_estimate_is_told() -> None:
    """Two updates at five per cent each: a tenth of a wrong approval at most."""
    right = np.ones(ITEMS, dtype=bool)
    state = start_chain("release", update(right, right))
    for _ in range(2):
        judged = judge_chain(policy(), state, update(right, right))
        state = judged.state
    assert judged.lifetime.wrong_at_most == pytest.approx(0.1)
    assert "0.1 wrong approvals" in judged.rules[-1].message


def test_the_state_survives_json() -> None:
    """What the ledger keeps is what was judged with."""
    right = np.random.default_rng(3).random(ITEMS) < 0.7
    state = judge_chain(policy(), start_chain("r", update(right, right)), update(right, right)).state
    assert ChainState.model_validate(json.loads(state.model_dump_json())) == state


@pytest.mark.parametrize("change", ["no result", "failed", "few items", "nan"])
def test_what_is_missing_never_passes(change: str) -> None:
    """A drift that is not known asks for a person."""
    right = np.ones(ITEMS, dtype=bool)
    state = start_chain("release", update(right, right))
    good = update(right, right)
    (result,) = good.results
    spoiled: tuple[ProbeResult, ...] = ()
    if change == "failed":
        spoiled = (result.model_copy(update={"status": "failed"}),)
    elif change == "few items":
        spoiled = (result.model_copy(update={"items": result.items[:400]}),)
    elif change == "nan":
        items = tuple(item.model_copy(update={"after": math.nan}) for item in result.items)
        spoiled = (result.model_copy(update={"items": items}),)
    assert judge_chain(policy(), state, Record(good.decision, spoiled)).verdict != "approve"


def with_e_value(record: Record, log_e: float) -> Record:
    (result,) = record.results
    (known,) = result.measurements
    evidence = Sequential(pool=ITEMS, margin=0.05, log_e_safe=log_e, log_e_harm=0.0, order="o")
    changed = result.model_copy(update={"measurements": (known.model_copy(update={"sequential": evidence}),)})
    return Record(record.decision, (changed,))


def test_e_lond_is_that_of_the_reference() -> None:
    """Approvals and thresholds are those of online-fdr fed the same e-values; a refused update counts as zero."""
    from online_fdr.e_values import ELond

    rules, reference = policy(method="e-lond", alpha=0.1), ELond(0.1)
    right = np.ones(ITEMS, dtype=bool)
    record = update(right, right, rules=rules)
    state = start_chain("release", record)
    for log_e in (3.0, 6.0, 8.0, 2.0, 12.0, 5.5, 7.0):
        judged = judge_chain(rules, state, with_e_value(record, log_e))
        assert (judged.verdict == "approve") == reference.test_one(math.exp(log_e))
        assert judged.lifetime.log_threshold == pytest.approx(-math.log(reference.current_level or 1))
        state = judged.state
    assert 0 < state.approvals < 7


def test_an_interval_gives_an_e_value_that_few_clusters_bound() -> None:
    """Without a betting test the p of the interval is calibrated; two clusters can never show much."""
    rules = policy(method="e-lond")
    right = np.ones(ITEMS, dtype=bool)
    record = update(right, right, rules=rules)
    (result,) = record.results
    (known,) = result.measurements
    judged = []
    for clusters in (2, 1000):
        narrow = known.model_copy(
            update={"clusters": clusters, "interval": Interval(low=-0.001, high=0.001, level=0.95, method="t")}
        )
        spoiled = Record(record.decision, (result.model_copy(update={"measurements": (narrow,)}),))
        judged.append(judge_chain(rules, start_chain("r", record), spoiled).lifetime.log_e_value)
    assert judged[0] == pytest.approx(0.0)
    assert judged[1] > 10


def test_nothing_measured_is_no_evidence() -> None:
    """Under e-LOND an update without a measured budget has an e-value of zero."""
    rules = policy(method="e-lond")
    right = np.ones(ITEMS, dtype=bool)
    record = update(right, right, rules=rules)
    judged = judge_chain(rules, start_chain("r", record), Record(record.decision, ()))
    assert judged.verdict != "approve"
    assert judged.lifetime.log_e_value == -1000.0


def test_the_measured_type_is_what_records_hold() -> None:
    """An audit record is what `judge_chain` takes."""
    from weightgate.reports.record import AuditRecord

    assert {"decision", "results"} <= set(AuditRecord.model_fields)
    assert Measurement.model_fields["sequential"].default is None
