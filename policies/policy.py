"""The policy document: what an update must show to be approved. Strictly parsed; deciding lives in decide.py."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from weightgate.lineage.canonical import Frozen, digest
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_yaml import Document, parse_yaml
from weightgate.probes.evidence import SEVERITIES, Severity

MAX_POLICY_BYTES = 1_000_000
PACKS = Path(__file__).parent / "packs"


class Requirement(Frozen):
    """A probe that must have been measured, or at least been heard from, for the update to be approved."""

    probe: str = Field(description="Probe name, for example 'alignment.refusal_margin'.")
    min_n: int = Field(default=1, ge=1, description="Fewest items each of its measurements may rest on.")
    on_missing: Literal["block", "review", "ignore"] = Field(
        default="review",
        description="Verdict where the probe was skipped, failed, absent, or measured too little; 'ignore' excuses "
        "only a probe that says itself that it was skipped.",
    )


class Budget(Frozen):
    """How much worse one metric may get. The whole confidence interval must lie inside the margin to pass."""

    metric: str
    max_drop: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Largest fall of the metric.")
    max_rise: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Largest rise of the metric.")
    max_since_anchor: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Largest harm since the anchor release, over all updates of a chain together.",
    )
    severity: Literal["block", "review"] = Field(default="block", description="Verdict where harm beyond it is shown.")
    on_missing: Literal["block", "review", "ignore"] = Field(
        default="review",
        description="Where it was not measured; 'ignore' holds only where the probe itself says that it was skipped.",
    )
    why: str = Field(default="", description="Reason for this number, printed in reports.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.max_drop is None) == (self.max_rise is None):
            raise ValueError("give exactly one of max_drop and max_rise")
        step = self.max_drop if self.max_drop is not None else self.max_rise
        if self.max_since_anchor is not None and step is not None and self.max_since_anchor < step:
            raise ValueError(f"max_since_anchor ({self.max_since_anchor:g}) is smaller than one step may be ({step:g})")
        return self


class FindingRule(Frozen):
    """What a finding of some severity does to the verdict."""

    block_at: Severity = "high"
    review_at: Severity = "medium"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if SEVERITIES.index(self.review_at) > SEVERITIES.index(self.block_at):
            raise ValueError(f"review_at ({self.review_at}) is more severe than block_at ({self.block_at})")
        return self


class Chain(Frozen):
    """How errors are kept in check over many updates of one model."""

    method: Literal["fixed", "e-lond"] = Field(
        default="fixed",
        description="'fixed' holds every update to the same level and tells what that may add up to; 'e-lond' raises "
        "the bar so that the share of harmful ones among approved updates stays below alpha.",
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Share of harmful updates among approved ones.")


class Policy(Frozen):
    """A policy; ``digest`` identifies it in the signed verdict."""

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    description: str = ""
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Confidence level of the intervals budgets are judged on."
    )
    require: tuple[Requirement, ...] = Field(min_length=1)
    budgets: tuple[Budget, ...] = Field(min_length=1)
    findings: FindingRule = FindingRule()
    chain: Chain = Chain()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form of the policy."""
        return digest(self)


def load_policy(path: Path) -> Policy:
    """Read a YAML policy.

    Raises:
        InputError: unreadable, not YAML, unknown or missing keys, duplicate keys, or a value out of range; the message
            names the file, the line and the field.
    """
    document = parse_yaml(_read(path), str(path))
    try:
        return Policy.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        lines = _explain(str(path), document, error.errors(include_url=False))
        raise InputError("\n".join(lines), remedy=f"correct {path}; the shipped policies show every key") from error


def packs() -> tuple[str, ...]:
    """Names of the policies that ship."""
    return tuple(sorted(path.stem for path in PACKS.glob("*.yaml")))


def pack(name: str) -> Policy:
    """Load a policy that ships.

    Raises:
        InputError: no policy of that name ships.
    """
    if name not in packs():
        raise InputError(f"no policy named '{name}' ships{_did_you_mean(name, packs())}", remedy=_choices())
    return load_policy(PACKS / f"{name}.yaml")


def resolve(name_or_path: str | Path) -> Policy:
    """Load a policy by the name of a shipped one, or from a file.

    Raises:
        InputError: as for `load_policy`, or neither a shipped policy nor a file.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in packs():
        return pack(name)
    if not Path(name).exists():
        raise InputError(
            f"no policy '{name}': it is neither a file nor a shipped policy{_did_you_mean(name, packs())}",
            remedy=f"give a YAML file, or {_choices()}",
        )
    return load_policy(Path(name))


def _choices() -> str:
    return f"one of the shipped policies: {', '.join(packs())}"


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} is not a policy file", remedy=f"give a YAML file, or {_choices()}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read the policy {path}: {error.strerror}", remedy="check its permissions") from error
    if len(data) > MAX_POLICY_BYTES:
        raise InputError(f"{path} is larger than {MAX_POLICY_BYTES} bytes", remedy="a policy is a page of YAML")
    return data


_PARTS: dict[str | int, type[BaseModel]] = {
    "require": Requirement,
    "budgets": Budget,
    "findings": FindingRule,
    "chain": Chain,
}


def _explain(path: str, document: Document, details: list[ErrorDetails]) -> list[str]:
    """One line for each fault: file, line, field, what is wrong and what was probably meant."""
    lines: list[tuple[int, str]] = []
    for detail in details:
        place = detail["loc"]
        follows = any(other["loc"][: len(place)] == place != other["loc"] for other in details)
        if detail["type"] == "too_short" and follows:
            continue  # a list whose items are at fault is also reported as too short
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
        line = document.line(place)
        lines.append((line, f"{path}:{line}: {field or 'policy'}: {_fault(detail, place)}"))
    return [text for _, text in sorted(lines)]


def _fault(detail: ErrorDetails, place: tuple[int | str, ...]) -> str:
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        model = _PARTS[place[0]] if len(place) > 1 else Policy
        return f"unknown key{_did_you_mean(str(place[-1]), tuple(model.model_fields))}"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    if detail["type"] == "literal_error":
        choices = [part.strip(" '") for part in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"{message}, not {_clip(given)}{_did_you_mean(str(given), choices)}"
    return message if isinstance(given, (dict, list)) else f"{message}, not {_clip(given)}"


def _did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _clip(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
