"""The betting test: error rates however often one looks, known numbers of items, resumption, and a reference."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.probes.sequential import Capital, Certificate, Wager, advance, bet, confidence_sequence
from weightgate.probes.statistics import StatisticsError

HARMS = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=60)


def fresh(**changes: object) -> Certificate:
    values: dict[str, object] = {"margin": 0.05, "low": -1.0, "high": 1.0, "level": 0.95, "order": "o"}
    return Certificate.model_validate(values | changes)


def crossed(harms: np.ndarray, wager: Wager, threshold: float) -> tuple[float, float]:
    """Shares of runs (rows) in which each capital ever reached the threshold."""
    state = Capital.start(harms.shape[:1])
    safe, harm = np.zeros(len(harms)), np.zeros(len(harms))
    for column in harms.T:
        state = bet(wager, state, column)
        safe, harm = np.maximum(safe, state.log_safe), np.maximum(harm, state.log_harm)
    return float((safe >= math.log(threshold)).mean()), float((harm >= math.log(threshold)).mean())


@pytest.mark.parametrize(("margin", "items"), [(0.005, 683), (0.01, 337), (0.02, 166), (0.05, 65), (0.1, 32)])
def test_items_without_a_flip_that_are_needed(margin: float, items: int) -> None:
    """At an e-value of 20 the number of unchanged items that decides is known, and near its limit ln 20 / margin."""
    certificate = fresh(margin=margin, level=0.9)
    before = advance(certificate, [0.0] * (items - 1), order="o")
    assert (before.decided, advance(before, [0.0], order="o").decided) == ("", "safe")
    assert items >= math.log(20) / -math.log(1 - margin)


@pytest.mark.parametrize("pool", [None, 300])
@pytest.mark.parametrize(("lost", "won"), [(0.05, 0.0), (0.08, 0.03)])
def test_looking_after_every_item_keeps_the_error(pool: int | None, lost: float, won: float) -> None:
    """With the harm exactly at the margin each side is wrong in no more than about five per cent of runs."""
    rng = np.random.default_rng(1)
    if pool is None:
        draw = rng.random((2000, 300))
        harms = np.where(draw < lost, 1.0, np.where(draw < lost + won, -1.0, 0.0))
    else:
        items = np.repeat([1.0, -1.0, 0.0], [round(lost * pool), round(won * pool), pool - round((lost + won) * pool)])
        harms = rng.permuted(np.tile(items, (2000, 1)), axis=1)[:, :-1]
    safe, harm = crossed(harms, Wager(margin=0.05, pool=pool), 20)
    assert safe <= 0.065
    assert harm <= 0.065


def test_a_whole_pool_decides_itself() -> None:
    """Once every item of a pool is known its mean is, and the hypothesis it contradicts has lost all."""
    for harms, decided in (([0.0] * 9 + [1.0], "safe"), ([1.0] * 2 + [0.0] * 8, "harm")):
        assert advance(fresh(margin=0.15, pool=10), harms, order="o").decided == decided


@settings(deadline=None, max_examples=60)
@given(HARMS, st.integers(0, 60), st.sampled_from([None, 60]))
def test_going_on_later_is_going_on(harms: list[float], cut: int, pool: int | None) -> None:
    """Stopping anywhere, writing the certificate as JSON and going on gives the same certificate."""
    at_once = advance(fresh(pool=pool), harms, order="o")
    part = advance(fresh(pool=pool), harms[:cut], order="o")
    again = Certificate.model_validate(json.loads(part.model_dump_json()))
    assert advance(again, harms[cut:], order="o") == at_once


def test_another_order_is_another_test() -> None:
    """A certificate cannot be continued on items in an order it did not commit to."""
    with pytest.raises(StatisticsError, match="another order"):
        advance(fresh(), [0.0], order="p")


@pytest.mark.parametrize("harm", [math.nan, math.inf, 1.5, -2.0])
def test_a_harm_out_of_bounds_is_refused(harm: float) -> None:
    """NaN and what the bounds exclude never move a capital."""
    with pytest.raises(StatisticsError):
        advance(fresh(), [harm], order="o")
    with pytest.raises(StatisticsError):
        advance(fresh(pool=2), [0.0] * 3, order="o")


@settings(deadline=None, max_examples=60)
@given(HARMS)
def test_the_capital_is_that_of_the_reference(harms: list[float]) -> None:
    """Fed the same stakes, online-fdr's betting e-process ends with the same e-value."""
    from online_fdr.e_values import BettingEProcess

    state, wager = Capital.start(), Wager(margin=0.05)
    reference = 0.0
    for harm in harms:
        after = bet(wager, state, harm)
        gap = float(wager.scaled(np.asarray(harm)) - wager.bound)
        stake = math.expm1(float(after.log_safe - state.log_safe)) / gap
        process = BettingEProcess(stake=stake)
        process.update(gap)
        reference += process.log_current
        assert 0 <= stake <= 0.9 / float(wager.bound) + 1e-9
        state = after
    assert float(state.log_safe) == pytest.approx(reference, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(HARMS, st.sampled_from([0.02, 0.05, 0.2]))
def test_the_interval_and_the_decision_agree(harms: list[float], margin: float) -> None:
    """A decision for a margin and an interval on that side of it are the same thing."""
    low, high = confidence_sequence(harms, level=0.95, margins=(margin,))
    decided = advance(fresh(margin=margin), harms, order="o").decided
    mean = sum(harms) / len(harms)
    assert low <= mean <= high
    if high <= margin:
        assert decided == "safe" or mean == high
    if low > margin:
        assert decided == "harm" or mean == low
    if decided == "":
        assert low <= margin <= high


def test_the_confidence_sequence_holds_at_all_times() -> None:
    """The true mean is outside at any of many looks in no more than about five per cent of runs."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(100):
        harms = rng.choice([1.0, -1.0, 0.0], p=[0.08, 0.04, 0.88], size=150).tolist()
        missed += any(
            not low <= 0.04 <= high
            for low, high in (confidence_sequence(harms[:n], level=0.95, points=101) for n in range(30, 151, 40))
        )
    assert missed / 100 <= 0.06


@settings(deadline=None, max_examples=40)
@given(HARMS, st.integers(0, 59))
def test_a_worse_item_never_helps(harms: list[float], where: int) -> None:
    """Replacing the last item by the worst one never raises the capital against harm."""
    if where >= len(harms):
        return
    worse = [*harms[:-1], 1.0]
    assert advance(fresh(), worse, order="o").log_e_safe <= advance(fresh(), harms, order="o").log_e_safe + 1e-12
