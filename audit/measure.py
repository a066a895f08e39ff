"""Runs the probes one after another: a probe that breaks is evidence that is missing, never a crash of the gate."""

from __future__ import annotations

import time
from collections.abc import Sequence

from weightgate.audit.progress import Progress
from weightgate.lineage.errors import MissingExtraError, WeightgateError
from weightgate.policies.quantity import count
from weightgate.probes.engine.errors import TimeBudgetError
from weightgate.probes.evidence import ControlOutcome, ProbeResult
from weightgate.probes.probe import Probe, ProbeContext, not_measured
from weightgate.reports.record import ProbeCost


def measure(
    probes: Sequence[Probe], context: ProbeContext, *, controls: bool, progress: Progress
) -> tuple[tuple[ProbeResult, ...], tuple[ProbeCost, ...]]:
    """Results and costs of all probes, in order. With ``controls`` each must first fire on its planted defect."""
    results, costs = [], []
    for probe in probes:
        progress.step(f"{probe.name}: {probe.title}")
        started, before = time.monotonic(), context.engine.usage
        result = _attempt(probe, context)
        spent = context.engine.usage - before
        costs.append(
            ProbeCost(
                probe=probe.name,
                seconds=round(time.monotonic() - started, 2),
                scored_tokens=spent.scored_tokens,
                cached=spent.cached,
                requests=spent.requests,
            )
        )
        if controls and result.status == "measured":
            progress.step(f"{probe.name}: positive control")
            result = result.model_copy(update={"control": _control(probe)})
        results.append(result)
    return tuple(results), tuple(costs)


def _attempt(probe: Probe, context: ProbeContext) -> ProbeResult:
    try:
        return probe.run(context)
    except TimeBudgetError as error:
        return not_measured(probe, "skipped", f"{error}; give it more time with --max-minutes, or --resume")
    except MissingExtraError:
        raise
    except WeightgateError as error:
        return not_measured(probe, "failed", f"{error} {error.remedy}".strip())
    except Exception as error:  # noqa: BLE001 - a probe may be third-party code: its crash is a failed probe, which blocks approval
        return not_measured(probe, "failed", f"{type(error).__name__}: {error}")


def _control(probe: Probe) -> ControlOutcome:
    try:
        context = probe.control()
        result = probe.run(context)
        fired = result.status == "measured" and probe.fires(result)
    except Exception as error:  # noqa: BLE001 - a control that cannot run proves nothing, so the probe counts as blind
        return ControlOutcome(fired=False, detail=f"the control could not run: {type(error).__name__}: {error}")
    said = "; ".join(
        f"{m.metric} {m.effect:+.3g} [{m.interval.low:+.3g}, {m.interval.high:+.3g}]" for m in result.measurements
    )
    return ControlOutcome(fired=fired, detail=said or result.reason or count(len(result.findings), "finding"))
