"""What came of running a recipe again, as an in-toto statement about the child.

`compare` tells by tensors how far the result is from the signed child; `statement` and `read_replay` are the signed
form and its strict inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen, canonical
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.recipe import Sha256, Tolerance
from weightgate.lineage.strict_json import parse
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import Fingerprint
from weightgate.lineage.weights.weight_difference import weight_difference

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
REPLAY_PREDICATE = "https://weightgate.dev/attestation/replay/v1"
MAX_TENSORS = 100

Outcome = Literal["bit-exact", "within-tolerance", "differs", "not-replayable"]


class TensorDistance(Frozen):
    """One tensor of the replay that is not that of the child. None where there is no finite number."""

    name: str
    max_abs: float | None = Field(description="Largest absolute difference of an element.")
    relative_norm: float | None = Field(description="Frobenius norm of the difference over that of the child.")


class Replay(Frozen):
    """Predicate of the replay statement."""

    version: Literal["1"] = "1"
    outcome: Outcome
    replayed: str = Field(description="RFC 3339 UTC time.")
    replayer: str = Field(description="Key id of the signer.")
    name: str = Field(description="Label of the child; never trusted.")
    parent: Sha256 = Field(description="Root of the parent.")
    child: Sha256 = Field(description="Root of the child.")
    tensor_root: Sha256 = Field(description="Tensor root of the child.")
    changeset: Sha256 = Field(description="Of the signed payload of the changeset that holds the recipe.")
    recipe: Sha256 | None = Field(default=None, description="Digest of the recipe's canonical form.")
    replayed_tensor_root: Sha256 | None = Field(default=None, description="Of what the command left.")
    same_files: bool | None = Field(
        default=None, description="Whether configuration, tokenizer, template and code came out the same as well."
    )
    tensors_differing: int | None = Field(default=None, ge=0)
    tensors: Annotated[tuple[TensorDistance, ...], Field(max_length=MAX_TENSORS)] = Field(
        default=(), description="Those that differ most."
    )
    tolerance: Tolerance | None = Field(default=None, description="As the recipe declares it.")
    threads: int | None = Field(default=None, description="Threads of this replay.")
    exit_status: int | None = Field(default=None, description="Of the command; negative: the signal that ended it.")
    reasons: tuple[str, ...] = Field(default=(), description="Why it is not bit-exact, or not replayable.")
    environment: dict[str, str] = Field(default_factory=dict, description="Versions, platform and processor.")


def compare(
    child: Checkpoint,
    mine: Fingerprint,
    result: Checkpoint,
    found: Fingerprint,
    tolerance: Tolerance | None,
) -> tuple[Outcome, tuple[TensorDistance, ...], int]:
    """How far a result is from the child: the outcome, the tensors that differ most, and how many differ.

    Raises:
        InputError: a tensor cannot be read.
    """
    if mine.tensor_root == found.tensor_root:
        return "bit-exact", (), 0
    tensors = weight_difference(child, result, mine, found).tensors
    distances = [TensorDistance(name=t.name, max_abs=t.max_abs, relative_norm=t.relative_norm) for t in tensors]
    near = tolerance is not None and all(
        one.change == "changed" and one.before == one.after and _within(distance, tolerance)
        for one, distance in zip(tensors, distances, strict=True)
    )
    worst = sorted(distances, key=lambda distance: (-_or_infinite(distance.relative_norm), distance.name))
    return "within-tolerance" if near else "differs", tuple(worst[:MAX_TENSORS]), len(distances)


def statement(replay: Replay) -> bytes:
    """The replay as an in-toto Statement v1 about the child, in canonical JSON: the payload that is signed."""
    digests = {"sha256": replay.child, "tensorRoot": replay.tensor_root}
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": replay.name, "digest": digests}],
            "predicateType": REPLAY_PREDICATE,
            "predicate": replay.model_dump(mode="json"),
        }
    )


def read_replay(payload: bytes, what: str = "replay") -> Replay:
    """The replay in a payload whose signature was checked; only exactly what `statement` writes is accepted.

    Raises:
        IntegrityError: anything else; the message starts with ``what``.
    """
    try:
        document = parse(payload, what)
        replay = Replay.model_validate(document["predicate"])
        exact = statement(replay) == payload
    except (InputError, ValidationError, KeyError, TypeError) as error:
        raise IntegrityError(f"{what}: not a replay attestation", remedy=_REMEDY) from error
    if not exact:
        raise IntegrityError(f"{what}: not an exact replay statement", remedy=_REMEDY)
    return replay


def worst_of(tensors: Sequence[TensorDistance]) -> tuple[float | None, float | None]:
    """The largest ``max_abs`` and ``relative_norm``; None where one of them is no finite number."""
    return (
        _finite(max((_or_infinite(t.max_abs) for t in tensors), default=0.0)),
        _finite(max((_or_infinite(t.relative_norm) for t in tensors), default=0.0)),
    )


_REMEDY = "take the file from whoever replayed the recipe"


def _within(distance: TensorDistance, tolerance: Tolerance) -> bool:
    return (
        distance.max_abs is not None
        and distance.relative_norm is not None
        and distance.max_abs <= tolerance.max_abs
        and distance.relative_norm <= tolerance.relative_norm
    )


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
