"""The noise floor: how far a metric moves when nothing but the way of running the parent changes.

Three controls, each the parent against itself: run once more without the cache, in smaller batches, and in another
precision. Answers are kept like any others, under the parent's fingerprint and the numerics, so that the next update of
the same parent pays nothing but the first control.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.executor import Executor
from weightgate.probes.engine.mirror import Mirror
from weightgate.probes.engine.numerics import Numerics, find_numerics
from weightgate.probes.engine.plan import LAYOUTS, Layout
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.runner import LocalRunner
from weightgate.probes.evidence import ProbeResult
from weightgate.probes.probe import Probe, ProbeContext


def ways(usual: Numerics) -> Mapping[str, Numerics]:
    """Other ways to run the same weights, by name."""
    layout = usual.layout or LAYOUTS[usual.device]
    smaller = Layout(**{field.name: max(1, getattr(layout, field.name) // 2) for field in dataclasses.fields(layout)})
    precision = "bfloat16" if usual.dtype == "float32" else "float32"
    return MappingProxyType(
        {
            "again": usual,
            "batches": dataclasses.replace(usual, layout=smaller, facts={**usual.facts, "batches": str(smaller)}),
            "precision": dataclasses.replace(usual, dtype=precision, facts={**usual.facts, "dtype": precision}),
        }
    )


def noise_floor(probe: Probe, context: ProbeContext, cache: ScoreCache | None) -> Mapping[str, Mapping[str, float]]:
    """By control and metric, the size of the effect the probe reports on the parent against itself.

    The models are run in this process, whatever serves the audit.

    Raises:
        WeightgateError: the probe cannot run on the parent.
    """
    usual = find_numerics(context.update.parent.config)
    floors: dict[str, dict[str, float]] = {}
    for name, numerics in ways(usual).items():
        mirror = Mirror(
            _executor(context, usual, cache), _executor(context, numerics, None if name == "again" else cache)
        )
        try:
            alone = dataclasses.replace(
                context, engine=Engine(context.update, mirror, tokenizer_of=context.engine), stopping=None
            )
            result = probe.run(alone)
        finally:
            mirror.close()
        floors[name] = {m.metric: abs(m.effect) for m in result.measurements}
    return MappingProxyType(floors)


def _executor(context: ProbeContext, numerics: Numerics, cache: ScoreCache | None) -> Executor:
    runner = LocalRunner(context.update, numerics)
    sides: tuple[Side, Side] = ("parent", "child")
    runners = dict.fromkeys(sides, runner)
    return Executor(context.update, numerics, runners, cache=cache, deadline=None, progress=None)


def with_floor(result: ProbeResult, floors: Mapping[str, Mapping[str, float]]) -> ProbeResult:
    """The result with the largest floor of each metric; a metric that a control did not give has none."""
    measurements = tuple(
        m.model_copy(update={"noise_floor": max(floor[m.metric] for floor in floors.values())})
        if floors and all(m.metric in floor for floor in floors.values())
        else m
        for m in result.measurements
    )
    return result.model_copy(update={"measurements": measurements})
