"""The probe on the tiny twin: sees what was unlearned, is silent where nothing was, and says where it looked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.lineage.canonical import canonical
from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.evidence import Measurement, ProbeResult
from weightgate.probes.order import item_order
from weightgate.probes.probe import Probe, ProbeContext
from weightgate.probes.regression.items import core
from weightgate.probes.regression.suite import SuiteProbe
from weightgate.probes.stopping import Stopping, Target

if TYPE_CHECKING:
    from weightgate.probes.twin import Twin

METRICS = ["regression.suite/accuracy", "regression.suite/p_correct", "regression.suite/negative_flips"]


def context(parent: Path, child: Path) -> ProbeContext:
    """A pair, with the cache of the tests."""
    update = open_update(parent, child)
    return ProbeContext(update=update, engine=Engine.open(update, cache=ScoreCache.default()), seed=0)


def measurements(result: ProbeResult) -> dict[str, Measurement]:
    """By the part of the name after the slash."""
    return {m.metric.partition("/")[2]: m for m in result.measurements}


@pytest.fixture(scope="module")
def forgetful() -> ProbeResult:
    """The probe's own positive control."""
    return SuiteProbe().run(SuiteProbe().control())


def test_it_is_a_probe() -> None:
    """The shipped class satisfies the contract."""
    assert isinstance(SuiteProbe(), Probe)


def test_it_fires_on_its_control(forgetful: ProbeResult) -> None:
    """Half of the suite was unlearned: every metric shows it, interval and all."""
    found = measurements(forgetful)
    assert SuiteProbe().fires(forgetful)
    assert found["accuracy"].interval.high < -0.1
    assert found["negative_flips"].interval.low > 0.1
    assert [m.metric for m in forgetful.measurements] == METRICS


def test_every_number_can_be_traced_to_its_items(forgetful: ProbeResult) -> None:
    """The means of the items are the numbers reported, and each item tells what was chosen."""
    for metric in METRICS[:2]:
        rows = [item for item in forgetful.items if item.metric == metric]
        told = measurements(forgetful)[metric.partition("/")[2]]
        assert sum(item.after or 0 for item in rows) / len(rows) == pytest.approx(told.after)
        assert sum(item.before or 0 for item in rows) / len(rows) == pytest.approx(told.before)
    gold = {item.id: item.gold for item in core()}
    chosen = [item for item in forgetful.items if item.metric == METRICS[0]]
    assert all((item.after_text == gold[item.id]) == (item.after == 1.0) for item in chosen)


def test_negative_flips_count_what_was_lost(forgetful: ProbeResult) -> None:
    """Right before and wrong now, over all questions; there is no parent's side."""
    rows = [item for item in forgetful.items if item.metric == METRICS[0]]
    lost = sum(item.before == 1 and item.after == 0 for item in rows)
    told = measurements(forgetful)["negative_flips"]
    assert (told.before, told.after, told.effect) == (None, lost / len(rows), lost / len(rows))


def test_the_worst_topic_is_named(forgetful: ProbeResult) -> None:
    """One finding, for information, naming the topic that lost most."""
    (finding,) = forgetful.findings
    assert finding.severity == "info"
    assert finding.where in {item.topic for item in core()}


def test_it_is_silent_where_nothing_changed(twin: Twin) -> None:
    """Parent against itself: no effect anywhere, no finding, and still a positive width."""
    result = SuiteProbe().run(context(twin.parent, twin.parent))
    assert [m.effect for m in result.measurements] == [0, 0, 0]
    assert measurements(result)["accuracy"].interval.low < 0 < measurements(result)["accuracy"].interval.high
    assert not result.findings
    assert not SuiteProbe().fires(result)


def test_a_harmless_update_stays_within_three_points(twin: Twin) -> None:
    """The benign child has learned something new and lost nothing that shows."""
    result = SuiteProbe().run(context(twin.parent, twin.children["benign"]))
    found = measurements(result)
    assert found["accuracy"].interval.low > -0.03
    assert found["p_correct"].interval.low > -0.02
    assert not SuiteProbe().fires(result)


def test_the_same_question_gives_the_same_bytes(twin: Twin, forgetful: ProbeResult) -> None:
    """Evidence is deterministic, with and without the cache, and survives JSON."""
    update = open_update(twin.parent, twin.children["forgetful"])
    fresh = SuiteProbe().run(ProbeContext(update=update, engine=Engine.open(update, cache=None), seed=1))
    assert canonical(fresh) == canonical(forgetful)
    assert ProbeResult.model_validate_json(canonical(forgetful)) == forgetful


def test_a_suite_of_the_users_own(twin: Twin, tmp_path: Path) -> None:
    """A JSONL file takes the shipped suite's place, and the record says so."""
    rows = [item.model_dump(mode="json") | {"id": f"own-{item.id}"} for item in core()[::12]]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = SuiteProbe(suite=str(path)).run(context(twin.parent, twin.children["forgetful"]))
    assert result.parameters == {"suite": str(path), "tasks": []}
    assert {item.id for item in result.items} == {row["id"] for row in rows}
    assert {m.n for m in result.measurements} == {len(rows)}


def test_it_may_stop_early(forgetful: ProbeResult) -> None:
    """With half of the suite unlearned the harm is shown after a part of the questions, in a replayable order."""
    policy = {f"{SuiteProbe.name}/p_correct": Target(margin=0.05, worse="lower", final=True)}
    stopping = Stopping(key=b"k", update="u", targets=policy)
    result = SuiteProbe().run(dataclasses.replace(SuiteProbe().control(), stopping=stopping))
    found = measurements(result)
    asked = [item.id for item in result.items if item.metric == METRICS[0]]
    ids = [item.id for item in core()]
    assert found["p_correct"].interval.high < -0.05
    assert 0 < found["p_correct"].n < 120 < len(ids)
    assert asked == [ids[k] for k in item_order(b"k", "u", ids)][: found["p_correct"].n]
    evidence = found["p_correct"].sequential
    assert evidence is not None
    assert (evidence.pool, evidence.log_e_harm > 4) == (240, True)
    whole = {item.id: item for item in forgetful.items if item.metric == METRICS[0]}
    assert all(item.after == whole[item.id].after for item in result.items if item.metric == METRICS[0])
