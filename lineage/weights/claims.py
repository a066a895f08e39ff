"""What the author of an update says about its weights, in a form that can be held against the bytes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.kinds.facts import UpdateKind

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Glob = Annotated[str, Field(min_length=1, max_length=300)]
Part = Literal["weights", "tokenizer", "chat_template", "config", "files"]

MOST_STARS = 8
"""Wildcards in one pattern; more could take forever to match."""


class MergeClaim(Frozen):
    """The child is this weighted sum: coefficients of the named models, the rest of one on the parent."""

    sources: tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...] = Field(min_length=1, max_length=16)
    coefficients: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(min_length=1, max_length=16)
    tolerance: float = Field(default=0.01, gt=0, le=1, description="Largest allowed distance of a coefficient.")

    @model_validator(mode="after")
    def _one_each(self) -> MergeClaim:
        if len(self.sources) != len(self.coefficients):
            raise ValueError("every source needs one coefficient")
        return self


class Claims(Frozen):
    """Statements about one update; each that is given is checked."""

    base: Digest | None = Field(default=None, description="Root of the model it was made from.")
    kind: UpdateKind | None = None
    adapter_type: Annotated[str, Field(max_length=40)] | None = Field(default=None, description="For example 'LORA'.")
    only_modules: tuple[Glob, ...] = Field(
        default=(), max_length=200, description="Every changed tensor matches one of these shell-style patterns."
    )
    frozen: tuple[Glob, ...] = Field(default=(), max_length=200, description="No changed tensor matches any of these.")
    unchanged: tuple[Part, ...] = Field(default=(), description="Parts that are the same on both sides.")
    rank: int | None = Field(
        default=None, strict=True, ge=1, le=100_000, description="No difference has a higher rank."
    )
    max_relative_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    merge: MergeClaim | None = None
    data: tuple[Digest, ...] | None = Field(
        default=None, max_length=1000, description="SHA-256 of the training data: exactly these, and no others."
    )

    @model_validator(mode="after")
    def _can_be_matched(self) -> Claims:
        for pattern in (*self.only_modules, *self.frozen):
            if sum(map(pattern.count, "*?[")) > MOST_STARS:
                raise ValueError(f"the pattern {pattern[:60]!r} has more than {MOST_STARS} wildcards")
        return self


def read_claims(document: Any, what: str) -> Claims:
    """The claims in a parsed document; messages start with ``what``.

    Raises:
        InputError: an unknown field, a value that is none, or nothing is claimed.
    """
    try:
        claims = Claims.model_validate_json(_json(document)) if isinstance(document, dict) else None
    except (ValidationError, ValueError) as error:
        raise InputError(f"{what}: {_first(error)}", remedy="docs/kinds.md lists what can be claimed") from error
    if claims is None or claims == Claims():
        raise InputError(f"{what}: claims nothing", remedy="docs/kinds.md lists what can be claimed")
    return claims


def _json(document: Any) -> bytes:
    from weightgate.lineage.canonical import canonical

    return canonical(document)


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:300]
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'claims'}: {first['msg']}"[:300]
