"""Early stopping: an order that only the key determines, looks that keep the error, no stop before all is settled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.probes.evidence import Measurement
from weightgate.probes.order import commitment, item_order
from weightgate.probes.statistics import StatisticsError, measurement, paired_mean, paired_proportion
from weightgate.probes.stopping import Stopping, Target, at_look, level_at

IDS = [f"item-{i}" for i in range(240)]


def stopping(targets: Mapping[str, Target] | None = None, **changes: object) -> Stopping:
    values: dict[str, object] = {
        "key": b"k",
        "update": "u",
        "targets": targets or {"a.probe/x": Target(margin=0.05, worse="lower")},
    }
    return Stopping(**(values | changes))  # type: ignore[arg-type]


def run(plan: Stopping, before: list[bool], after: list[bool]) -> Measurement:
    """What a probe does: hand items over in parts, stop when all is settled."""
    seen: list[int] = []
    known: Measurement | None = None
    for look, new in plan.looks([f"i{k}" for k in range(len(before))]):
        seen += new
        b, a = [before[k] for k in seen], [after[k] for k in seen]
        effect = paired_proportion(b, a, seen, level=level_at(look))
        fixed = measurement(effect, metric="a.probe/x", title="t", unit="proportion", worse="lower")
        known = at_look(look, fixed, [float(y) - float(x) for x, y in zip(b, a, strict=True)], (-1.0, 1.0))
        if plan.settled([known]):
            break
    assert known is not None
    return known


@given(st.binary(min_size=1, max_size=40), st.text(max_size=10), st.permutations(IDS[:20]))
def test_the_order_follows_from_key_update_and_ids_alone(key: bytes, update: str, shuffled: list[str]) -> None:
    """However the items are handed in, they are used in one order, each once."""
    usual = [IDS[k] for k in item_order(key, update, IDS[:20])]
    assert [shuffled[k] for k in item_order(key, update, shuffled)] == usual
    assert sorted(usual) == sorted(IDS[:20])


def test_key_and_update_change_the_order() -> None:
    """Neither is known to the trainer at the right time; each changes the order, and the commitment with it."""
    orders = [item_order(key, update, IDS) for key, update in ((b"k", "u"), (b"l", "u"), (b"k", "v"))]
    assert len({commitment([IDS[k] for k in order]) for order in orders}) == 3


@pytest.mark.parametrize(("key", "ids"), [(b"", IDS), (b"k", []), (b"k", ["a", "a"])])
def test_an_order_needs_a_key_and_distinct_items(key: bytes, ids: list[str]) -> None:
    """Duplicates would make the order ambiguous."""
    with pytest.raises(StatisticsError):
        item_order(key, "u", ids)


def test_commitments_do_not_run_together() -> None:
    """Two lists whose texts join to the same string have different digests."""
    assert commitment(["ab", "c"]) != commitment(["a", "bc"])


def test_the_looks_use_every_item_once() -> None:
    """The parts are of about equal size and cover the pool; the last look is marked."""
    steps = list(stopping().looks(IDS))
    assert sorted(k for _, new in steps for k in new) == list(range(240))
    assert {len(new) for _, new in steps} == {20}
    assert [look.last for look, _ in steps] == [False] * 11 + [True]
    assert sum(1 - look.fixed_level for look, _ in steps) == pytest.approx(0.05)


def test_an_unchanged_model_is_settled_early() -> None:
    """No flip in 100 of 240 items excludes a fall of five points; the interval says so and the e-value too."""
    known = run(stopping(), [True] * 240, [True] * 240)
    assert known.n == 100
    assert known.interval.low >= -0.05
    assert known.sequential is not None
    assert (known.sequential.pool, known.interval.level) == (240, 0.95)
    assert known.sequential.log_e_safe >= np.log(80)


def test_shown_harm_stops_at_once_only_where_it_decides() -> None:
    """A large loss is seen at the first look or two; without `final` another open question keeps the probe going."""
    lost = [k % 3 != 0 for k in range(240)]
    assert run(stopping(), [True] * 240, lost).n <= 80
    targets = {
        "a.probe/x": Target(margin=0.05, worse="lower", final=True),
        "a.probe/y": Target(margin=0.05, worse="lower"),
    }
    known = run(stopping(targets), [True] * 240, lost)
    opened = known.model_copy(update={"metric": "a.probe/y", "interval": known.interval.model_copy(update={"high": 0})})
    assert stopping(targets).settled([known, opened])
    targets["a.probe/x"] = Target(margin=0.05, worse="lower")
    assert not stopping(targets).settled([known, opened])


def test_approval_waits_for_the_items_the_policy_wants() -> None:
    """With a minimum of 200 items nothing is approved earlier."""
    plan = stopping({"a.probe/x": Target(margin=0.05, worse="lower", min_n=200)})
    assert run(plan, [True] * 240, [True] * 240).n == 200


def test_without_a_target_everything_is_used() -> None:
    """A metric the policy does not ask about gives no reason to stop."""
    plan = stopping({"b.other/x": Target(margin=0.05, worse="lower")})
    known = run(plan, [True] * 240, [True] * 240)
    assert (known.n, known.sequential) == (240, None)


def test_an_unbounded_mean_is_corrected_for_its_looks() -> None:
    """The interval at an early look is wider than the usual one and says how many looks there are."""
    rng = np.random.default_rng(4)
    d = rng.normal(size=240).tolist()
    look, new = next(iter(stopping().looks(IDS)))
    groups = list(range(len(new)))
    effect = paired_mean([0.0] * len(new), [d[k] for k in new], groups, level=level_at(look))
    known = at_look(look, measurement(effect, metric="a.probe/x", title="t", unit="nat", worse="lower"))
    usual = paired_mean([0.0] * len(new), [d[k] for k in new], groups)
    assert known.interval.low < usual.low < usual.high < known.interval.high
    assert "12 looks" in known.interval.method
