"""Interval plots as inline SVG: no script, no style of their own, positions in per cent so that text keeps its size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup, escape

from weightgate.policies.quantity import interval, signed, unit_name
from weightgate.probes.evidence import Interval
from weightgate.reports.visible import inline

_PADDING = 0.09
_TICK_EDGE, _LIMIT_EDGE = 14.0, 26.0
"""Per cent from an edge within which a label is aligned to its side, so that a narrow screen does not cut it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One effect with its interval, beside no change and the limit."""

    name: str
    title: str
    unit: str
    effect: float
    interval: Interval
    limit: float | None
    worse_is_lower: bool


def interval_plot(plot: Plot) -> Markup:
    """The plot with its axis: zero line, limit line, the harmful side shaded, interval bar, estimate.

    ``plot.name`` must be unique in the page; it links the picture to its title and description.
    """
    scale = _Scale.around(plot)
    return Markup(
        '<svg class="plot" width="100%" height="86" role="img" aria-labelledby="{name}-t {name}-d">'
        '<title id="{name}-t">{title}</title><desc id="{name}-d">{description}</desc>'
        "{harm}{axis}{zero}{limit}{bar}</svg>"
    ).format(
        name=plot.name,
        title=f"Interval plot: {inline(plot.title, 120)}",
        description=_description(plot),
        harm=_harm(plot, scale, top=22, height=40),
        axis=_axis(plot, scale),
        zero=_line(scale.x(0.0), "zero", 22, 62),
        limit=_limit(plot, scale),
        bar=_bar(plot, scale, middle=42, half=7, radius=6),
    )


def small_plot(plot: Plot) -> Markup:
    """The same without axis and labels, for a row of a table; its numbers stand in the cells beside it."""
    scale = _Scale.around(plot)
    limit = Markup("") if plot.limit is None else _line(scale.x(plot.limit), "limit", 2, 22)
    return Markup('<svg class="plot small" width="100%" height="24" aria-hidden="true">{}{}{}{}</svg>').format(
        _harm(plot, scale, top=2, height=20),
        _line(scale.x(0.0), "zero", 2, 22),
        limit,
        _bar(plot, scale, middle=12, half=4, radius=4),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float

    @classmethod
    def around(cls, plot: Plot) -> _Scale:
        """A range that shows the interval, no change and the limit, with some air."""
        points = [0.0, plot.interval.low, plot.interval.high, plot.effect]
        points += [] if plot.limit is None else [plot.limit]
        low, high = min(points), max(points)
        span = high - low
        if not 1e-9 < span < 1e9:  # nothing to show, or nothing a picture can show: the numbers stand beside it
            return cls(low=-1.0, high=1.0)
        return cls(low - _PADDING * span, high + _PADDING * span)

    def x(self, value: float) -> float:
        """Position of a value in per cent of the width."""
        return min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0)

    def ticks(self) -> list[float]:
        """Two to five round numbers."""
        rough = (self.high - self.low) / 3.6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [i * step for i in range(first, last + 1)]


def _harm(plot: Plot, scale: _Scale, *, top: int, height: int) -> Markup:
    if plot.limit is None:
        return Markup("")
    edge = scale.x(plot.limit)
    left, width = (0.0, edge) if plot.worse_is_lower else (edge, 100.0 - edge)
    return Markup('<rect class="harm" x="{}%" y="{}" width="{}%" height="{}"/>').format(
        _percent(left), top, _percent(width), height
    )


def _axis(plot: Plot, scale: _Scale) -> Markup:
    parts = [Markup('<line class="axis" x1="0" x2="100%" y1="62" y2="62"/>')]
    for value in scale.ticks():
        x = scale.x(value)
        text = "no change" if value == 0 else signed(value, plot.unit, max(abs(scale.low), abs(scale.high)))
        parts.append(_line(x, "tick", 62, 66))
        parts.append(_label(x, 80, "tick-label zero-label" if value == 0 else "tick-label", text, edge=_TICK_EDGE))
    return Markup("").join(parts)


def _limit(plot: Plot, scale: _Scale) -> Markup:
    if plot.limit is None:
        return Markup("")
    x = scale.x(plot.limit)
    text = f"limit {signed(plot.limit, plot.unit)} {inline(unit_name(plot.unit), 30)}"
    return _line(x, "limit", 18, 62) + _label(x, 12, "limit-label", text, edge=_LIMIT_EDGE)


def _bar(plot: Plot, scale: _Scale, *, middle: int, half: int, radius: int) -> Markup:
    low, high = scale.x(plot.interval.low), scale.x(plot.interval.high)
    return Markup(
        '<g class="interval"><line class="whisker" x1="{low}%" x2="{high}%" y1="{y}" y2="{y}"/>'
        '<line class="end" x1="{low}%" x2="{low}%" y1="{top}" y2="{bottom}"/>'
        '<line class="end" x1="{high}%" x2="{high}%" y1="{top}" y2="{bottom}"/>'
        '<circle class="estimate" cx="{at}%" cy="{y}" r="{r}"/></g>'
    ).format(
        low=_percent(low),
        high=_percent(high),
        at=_percent(scale.x(plot.effect)),
        y=middle,
        top=middle - half,
        bottom=middle + half,
        r=radius,
    )


def _line(x: float, kind: str, top: int, bottom: int) -> Markup:
    at = _percent(x)
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(kind, at, at, top, bottom)


def _label(x: float, y: int, kind: str, text: str, *, edge: float) -> Markup:
    anchor = "start" if x < edge else "end" if x > 100 - edge else "middle"
    at = 0.0 if x < 2 else 100.0 if x > 98 else x
    return Markup('<text class="{}" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
        kind, _percent(at), y, anchor, escape(text)
    )


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _description(plot: Plot) -> str:
    low, high = interval(plot.interval.low, plot.interval.high, plot.unit)
    text = (
        f"Change {signed(plot.effect, plot.unit)} {inline(unit_name(plot.unit), 30)}, "
        f"{100 * plot.interval.level:.4g} % interval {low} to {high}"
    )
    return f"{text}." if plot.limit is None else f"{text}, limit {signed(plot.limit, plot.unit)}."
