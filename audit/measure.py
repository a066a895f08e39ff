"""Runs the probes on one plan of requests: a probe that breaks is missing evidence, never a crash of the gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from weightgate.audit.progress import Progress
from weightgate.lineage.errors import MissingExtraError, WeightgateError
from weightgate.policies.quantity import count
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine, Usage
from weightgate.probes.engine.errors import TimeBudgetError, UnsupportedError
from weightgate.probes.evidence import ControlOutcome, ProbeResult
from weightgate.probes.noise import noise_floor, with_floor
from weightgate.probes.probe import Probe, ProbeContext, not_measured
from weightgate.reports.record import ProbeCost


def measure(
    probes: Sequence[Probe],
    context: ProbeContext,
    *,
    controls: bool,
    progress: Progress,
    one_plan: bool = True,
    noise: bool = False,
) -> tuple[tuple[ProbeResult, ...], tuple[ProbeCost, ...]]:
    """Results and costs of all probes, in order. With ``controls`` each must fire on its planted defect.

    With ``one_plan`` what the probes ask for is merged. Otherwise they run one after another, so that a time budget
    leaves the first of them finished instead of all of them half done; results are the same. With ``noise`` every probe
    that needs nothing but the models is also run on the parent against itself.
    """

    def entered(number: int) -> None:
        progress.step(f"{probes[number].name}: {probes[number].title}")

    def attempt(probe: Probe) -> Callable[[Engine], ProbeResult]:
        return lambda engine: _attempt(probe, dataclasses.replace(context, engine=engine))

    work = [attempt(probe) for probe in probes]
    if one_plan:
        outcomes = context.engine.together(work, entered=entered)
    else:
        outcomes = []
        for number, ask in enumerate(work):
            entered(number)
            outcomes += context.engine.together([ask])
    results = []
    for probe, (measured, _, _) in zip(probes, outcomes, strict=True):
        result = measured
        if noise and result.status == "measured" and probe.needs == ("model",):
            progress.step(f"{probe.name}: the parent against itself")
            result = _with_noise_floor(probe, context, result)
        if controls and result.status == "measured":
            progress.step(f"{probe.name}: positive control")
            results.append(result.model_copy(update={"control": _control(probe)}))
        else:
            results.append(result)
    return tuple(results), tuple(_cost(p, *outcome[1:]) for p, outcome in zip(probes, outcomes, strict=True))


def _cost(probe: Probe, spent: Usage, seconds: float) -> ProbeCost:
    return ProbeCost(
        probe=probe.name,
        seconds=round(seconds, 2),
        scored_tokens=spent.scored_tokens,
        cached=spent.cached,
        requests=spent.requests,
    )


def _attempt(probe: Probe, context: ProbeContext) -> ProbeResult:
    try:
        return probe.run(context)
    except TimeBudgetError as error:
        return not_measured(probe, "skipped", f"{error}; give it more time with --max-minutes, or --resume")
    except UnsupportedError as error:
        return not_measured(probe, "skipped", f"{error}. {error.remedy}".strip())
    except MissingExtraError:
        raise
    except WeightgateError as error:
        return not_measured(probe, "failed", f"{error} {error.remedy}".strip())
    except Exception as error:  # noqa: BLE001 - a probe may be third-party code: its crash is a failed probe, which blocks approval
        return not_measured(probe, "failed", f"{type(error).__name__}: {error}")


def _with_noise_floor(probe: Probe, context: ProbeContext, result: ProbeResult) -> ProbeResult:
    try:
        return with_floor(result, noise_floor(probe, context, ScoreCache.default()))
    except Exception as error:  # noqa: BLE001 - a floor that was asked for and is not known leaves the probe unmeasured
        return not_measured(probe, "failed", f"its noise floor could not be measured: {type(error).__name__}: {error}")


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
