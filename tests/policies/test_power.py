"""Power and sample size: against simulation, and in the direction in which they must move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.policies.power import reach


def test_power_is_how_often_an_unchanged_update_is_approved() -> None:
    """Simulated estimates around zero with the run's own error fall inside the margin as often as promised."""
    error, margin = 0.02, 0.05
    able = reach(estimate=0.01, most=0.01 + 1.959964 * error, margin=margin, level=0.95, n=100)
    estimates = np.random.default_rng(1).normal(0, error, 200_000)
    assert able.power == pytest.approx((estimates + 1.959964 * error <= margin).mean(), abs=0.005)


def test_the_items_asked_for_would_settle_it() -> None:
    """With the interval shrunk to that many items its end lies on the margin."""
    able = reach(estimate=0.02, most=0.08, margin=0.05, level=0.95, n=100)
    assert able.items_needed == 400
    assert 0.02 + 0.06 * (100 / able.items_needed) ** 0.5 == pytest.approx(0.05)


@given(st.floats(0, 0.04), st.floats(0.001, 1), st.floats(1.1, 10))
def test_a_wider_interval_has_less_power_and_needs_more(estimate: float, half: float, factor: float) -> None:
    """Never the other way round."""
    narrow = reach(estimate=estimate, most=estimate + half, margin=0.05, level=0.95, n=100)
    wide = reach(estimate=estimate, most=estimate + half * factor, margin=0.05, level=0.95, n=100)
    assert wide.power <= narrow.power
    assert (wide.items_needed or 10**9) >= (narrow.items_needed or 10**9)


def test_an_estimate_beyond_the_margin_has_no_number() -> None:
    """No sample settles in favour what is already estimated to be harm."""
    assert reach(estimate=0.06, most=0.08, margin=0.05, level=0.95, n=100).items_needed is None
