"""What probes hand over: measurements with intervals, findings, and the items each number came from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from weightgate.lineage.canonical import Frozen

Family = Literal["alignment", "poisoning", "privacy", "regression", "integrity"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Worse = Literal["higher", "lower"]
"""The direction in which a metric gets worse."""

SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")


class Interval(Frozen):
    """A two-sided confidence interval for an effect."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    level: float = Field(gt=0, lt=1, description="Confidence level, for example 0.95.")
    method: str = Field(description="How the interval was computed, for example 't on cluster means'.")


class Sequential(Frozen):
    """Where items were taken in a secret random order until the question was settled: how far, and how surely.

    An e-value of 20 against a hypothesis is as strong as a p of 0.05, and stays valid wherever the run was stopped.
    """

    pool: int = Field(ge=1, description="Items that could have been used; `n` of them were.")
    margin: float = Field(ge=0, allow_inf_nan=False, description="Largest harm allowed, the margin that was tested.")
    log_e_safe: float = Field(
        allow_inf_nan=False, description="Natural logarithm of the e-value against harm of the margin or more."
    )
    log_e_harm: float = Field(
        allow_inf_nan=False, description="Natural logarithm of the e-value against harm of the margin or less."
    )
    order: str = Field(description="SHA-256 of the order of all items in the pool.")


class Measurement(Frozen):
    """One number about an update: the effect of going from parent to child, with its uncertainty."""

    metric: str = Field(description="Unique name, 'family.probe/what', for example 'alignment.refusal_margin/harmful'.")
    title: str = Field(description="A few words a report can print.")
    unit: str = Field(description="Unit of before, after and effect: 'nat per token', 'proportion', 'bit', …")
    worse: Worse
    before: float | None = Field(
        allow_inf_nan=False, description="Mean over items on the parent; None where the metric has no parent side."
    )
    after: float | None = Field(allow_inf_nan=False, description="Mean over items on the child.")
    effect: float = Field(allow_inf_nan=False, description="after - before unless `method` says otherwise.")
    interval: Interval
    n: int = Field(ge=1, description="Items measured.")
    clusters: int = Field(ge=1, description="Independent groups the items fall into (topics, sources).")
    p_value: float | None = Field(
        ge=0, le=1, description="Two-sided p of no change, where a test exists; never decides."
    )
    method: str = Field(description="What was computed, with its source.")
    checks: dict[str, float] = Field(
        default_factory=dict, description="Other statistics of the same items, such as 'mcnemar_p'; they never decide."
    )
    sequential: Sequential | None = Field(default=None, description="Where the run was allowed to stop early.")
    noise_floor: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Largest change seen when the parent was measured against itself, run in other ways.",
    )


class Finding(Frozen):
    """Something found, not measured: a recovered target, a suspicious row, a changed template, a flipped prompt."""

    rule: str = Field(description="Stable identifier, 'family.probe/rule'.")
    severity: Severity
    title: str
    detail: str = Field(description="What was seen and why it matters. May quote model output: hostile text.")
    where: str = Field(description="File, row, tensor or prompt it was seen in.")
    evidence: JsonValue = None


class Item(Frozen):
    """One item behind a measurement, so that every number can be traced to what it came from."""

    metric: str
    id: str
    cluster: str
    prompt: str
    before: float | None = Field(allow_inf_nan=False)
    after: float | None = Field(allow_inf_nan=False)
    before_text: str | None = None
    after_text: str | None = None


class ControlOutcome(Frozen):
    """What the probe said about a pair in which its defect was planted."""

    fired: bool
    detail: str


class ProbeResult(Frozen):
    """Everything one probe says. The same inputs and seed give the same bytes: no times, no paths."""

    probe: str
    version: str
    family: Family
    status: Literal["measured", "skipped", "failed"]
    reason: str = Field(default="", description="Why it was skipped or how it failed, and what to supply.")
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    items: tuple[Item, ...] = ()
    limits: tuple[str, ...] = Field(default=(), description="What this probe cannot see, in plain sentences.")
    control: ControlOutcome | None = None
