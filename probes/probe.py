"""The contract of a probe: it measures one property of an update and never decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from pydantic import JsonValue

from weightgate.probes.evidence import Family, Finding, Item, Measurement, ProbeResult

if TYPE_CHECKING:
    from weightgate.lineage.data.dataset import Dataset
    from weightgate.lineage.weights.claims import Claims
    from weightgate.lineage.weights.update import Update
    from weightgate.probes.engine.engine import Engine
    from weightgate.probes.stopping import Stopping

Need = Literal["weights", "model", "training data", "held-out data", "canaries"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeContext:
    """What a probe may use: the update, the scoring engine over both models, and the data that was supplied.

    With ``stopping`` a probe that can hand its items over in parts may stop where the policy's questions are settled;
    without it, and in every other probe, the whole sample is used.
    """

    update: Update
    engine: Engine
    seed: int
    data: Dataset | None = None
    held_out: Dataset | None = None
    canaries: Dataset | None = None
    stopping: Stopping | None = None
    claims: Claims | None = None


@runtime_checkable
class Probe(Protocol):
    """A frozen dataclass whose fields are its parameters, so that the record states exactly what ran."""

    name: ClassVar[str]
    version: ClassVar[str]
    family: ClassVar[Family]
    title: ClassVar[str]
    needs: ClassVar[tuple[Need, ...]]
    limits: ClassVar[tuple[str, ...]]

    def run(self, context: ProbeContext) -> ProbeResult:
        """Measure parent and child on the same work.

        Raises:
            WeightgateError: the evidence cannot be had; the pipeline records the probe as failed.
        """
        ...

    def control(self) -> ProbeContext:
        """A pair with this probe's defect planted, on which it must fire."""
        ...

    def fires(self, result: ProbeResult) -> bool:
        """Whether ``result`` shows the planted defect of ``control``."""
        ...


def parameters(probe: Probe) -> dict[str, JsonValue]:
    """The probe's dataclass fields as JSON, for the record; a tuple becomes a list."""
    values = {field.name: getattr(probe, field.name) for field in dataclasses.fields(cast("Any", probe))}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def measured(
    probe: Probe,
    *,
    measurements: Sequence[Measurement] = (),
    findings: Sequence[Finding] = (),
    items: Sequence[Item] = (),
) -> ProbeResult:
    """The result of a probe that ran to its end."""
    return ProbeResult(
        probe=probe.name,
        version=probe.version,
        family=probe.family,
        status="measured",
        parameters=parameters(probe),
        measurements=tuple(measurements),
        findings=tuple(findings),
        items=tuple(items),
        limits=probe.limits,
    )


def not_measured(probe: Probe, status: Literal["skipped", "failed"], reason: str) -> ProbeResult:
    """The result of a probe that could not run (``skipped``, with what to supply) or broke (``failed``)."""
    return ProbeResult(
        probe=probe.name,
        version=probe.version,
        family=probe.family,
        status=status,
        reason=reason,
        parameters=parameters(probe),
        limits=probe.limits,
    )
