"""Interval plots: well-formed, accessible, to scale, and inert whatever their title says."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.probes.evidence import Interval
from weightgate.reports.svg import Plot, interval_plot, small_plot

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def plot(low: float, high: float, limit: float | None, **changes: object) -> Plot:
    values: dict[str, object] = {
        "name": "p0",
        "title": "Refusal rate",
        "unit": "proportion",
        "effect": low + (high - low) / 2,
        "interval": Interval(low=low, high=high, level=0.95, method=""),
        "limit": limit,
        "worse_is_lower": True,
    }
    return Plot(**(values | changes))


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own output


def at(root: ElementTree.Element, kind: str, field: str = "x1") -> float:
    return float(next(e for e in root.iter() if e.get("class") == kind).get(field).rstrip("%"))


def test_positions_are_to_scale() -> None:
    """Limit, interval ends, estimate and zero lie in proportion to their values."""
    root = parsed(interval_plot(plot(-0.4, -0.2, -0.1)))
    zero, limit = at(root, "zero"), at(root, "limit")
    low, high = at(root, "whisker", "x1"), at(root, "whisker", "x2")
    assert low < at(root, "estimate", "cx") < high < limit < zero
    assert (zero - limit) / (zero - low) == pytest.approx(0.25, abs=0.001)


def test_the_harmful_side_is_shaded() -> None:
    """Beyond the limit is to the left where a fall is worse, to the right where a rise is."""
    fall = parsed(interval_plot(plot(-0.4, -0.2, -0.1)))
    rise = parsed(interval_plot(plot(0.2, 0.4, 0.1, worse_is_lower=False)))
    assert at(fall, "harm", "x") == 0
    assert at(fall, "harm", "width") == pytest.approx(at(fall, "limit"))
    assert at(rise, "harm", "x") == pytest.approx(at(rise, "limit"))


def test_the_picture_can_be_read_aloud() -> None:
    """A title and a description with the numbers are linked to the picture."""
    root = parsed(interval_plot(plot(-0.4, -0.2, -0.1)))
    title, description = root[0], root[1]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Interval plot: Refusal rate"
    assert "limit \N{MINUS SIGN}10.0" in description.text


@given(FINITE, FINITE, st.none() | FINITE, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_numbers_give_a_picture(a: float, b: float, limit: float | None, worse_is_lower: bool) -> None:
    """Equal, tiny, huge and opposite numbers all give well-formed SVG with positions inside it."""
    low, high = sorted((a, b))
    drawn = plot(low, high, limit, worse_is_lower=worse_is_lower, effect=low)
    for svg in (interval_plot(drawn), small_plot(drawn)):
        assert len(svg) < 5000
        for element in parsed(svg).iter():
            for field in ("x", "x1", "x2", "cx", "width"):
                assert 0 <= float(element.get(field, "0").rstrip("%")) <= 100


@given(st.text(max_size=200), st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_titles_and_units_are_only_text(title: str, unit: str) -> None:
    """Nothing in a title or unit becomes an element."""
    root = parsed(interval_plot(plot(-0.4, -0.2, -0.1, title=title, unit=unit)))
    assert {e.tag for e in root.iter()} <= {"svg", "title", "desc", "rect", "line", "text", "g", "circle"}
