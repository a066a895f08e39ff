"""The noise floor on the tiny twin: nothing on a second run, little in other batches, and every metric has one."""

from __future__ import annotations

from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.noise import noise_floor, ways, with_floor
from weightgate.probes.regression.suite import SuiteProbe


def test_the_ways_differ_in_what_they_say() -> None:
    """Cached answers are keyed by the facts: another way of running must not share them."""
    usual = Numerics(device="cpu", dtype="float32", facts={"dtype": "float32", "batches": "usual"})
    others = ways(usual)
    assert others["again"] == usual
    assert len({tuple(sorted(way.facts.items())) for way in others.values()}) == 3
    assert others["precision"].dtype == "bfloat16"


def test_the_parent_against_itself() -> None:
    """A second run is equal bit by bit; other batches and another precision move P(correct) by far less than limits."""
    context = SuiteProbe().control()
    floors = noise_floor(SuiteProbe(), context, ScoreCache.default())
    assert set(floors) == {"again", "batches", "precision"}
    assert set(floors["again"].values()) == {0.0}
    assert floors["batches"]["regression.suite/p_correct"] < 1e-4
    assert floors["precision"]["regression.suite/p_correct"] < 0.02
    result = with_floor(SuiteProbe().run(context), floors)
    for m in result.measurements:
        assert m.noise_floor == max(floor[m.metric] for floor in floors.values())


def test_a_metric_that_a_control_lacks_has_no_floor() -> None:
    """What was not measured in every way is not known."""
    result = SuiteProbe().run(SuiteProbe().control())
    partial = {"again": {m.metric: 0.0 for m in result.measurements}, "batches": {}}
    assert all(m.noise_floor is None for m in with_floor(result, partial).measurements)
