"""The policy document: what an update must show to be approved. Strictly parsed; deciding lives in decide.py."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from weightgate.lineage.canonical import Frozen, digest
from weightgate.lineage.errors import InputError
from weightgate.probes.evidence import Severity

MAX_POLICY_BYTES = 1_000_000


class Requirement(Frozen):
    """A probe that must have been measured for the update to be approved."""

    probe: str = Field(description="Probe name, for example 'alignment.refusal_margin'.")
    min_n: int = Field(default=1, ge=1, description="Fewest items each of its measurements may rest on.")
    on_missing: Literal["block", "review"] = Field(
        default="review", description="Verdict where the probe was skipped, failed, absent, or measured too little."
    )


class Budget(Frozen):
    """How much worse one metric may get. The whole confidence interval must lie inside the margin to pass."""

    metric: str
    max_drop: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Largest fall of the metric.")
    max_rise: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Largest rise of the metric.")
    severity: Literal["block", "review"] = Field(default="block", description="Verdict where harm beyond it is shown.")
    on_missing: Literal["block", "review", "ignore"] = Field(default="review", description="Where it was not measured.")
    why: str = Field(default="", description="Reason for this number, printed in reports.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.max_drop is None) == (self.max_rise is None):
            raise ValueError("give exactly one of max_drop and max_rise")
        return self


class FindingRule(Frozen):
    """What a finding of some severity does to the verdict."""

    block_at: Severity = "high"
    review_at: Severity = "medium"


class Policy(Frozen):
    """A policy; ``digest`` identifies it in the signed verdict."""

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    description: str = ""
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence level of the intervals budgets are judged on.")
    require: tuple[Requirement, ...] = Field(min_length=1)
    budgets: tuple[Budget, ...] = Field(min_length=1)
    findings: FindingRule = FindingRule()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form of the policy."""
        return digest(self)


def load_policy(path: Path) -> Policy:
    """Read a YAML policy.

    Raises:
        InputError: unreadable, not YAML, unknown or missing keys, duplicate keys, or a value out of range; the message
            names the file and the field.
    """
    raise NotImplementedError


PACKS = Path(__file__).parent / "packs"
