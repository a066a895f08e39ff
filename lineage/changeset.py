"""The changeset: a pull request for weights, as an in-toto statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen, canonical, sha256_hex
from weightgate.lineage.data.source import DataSource
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.recipe import Recipe
from weightgate.lineage.signing.envelope import read_envelope, verify
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.strict_json import parse
from weightgate.lineage.weights.claims import Claims
from weightgate.lineage.weights.kinds.facts import Facts, UpdateKind

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
CHANGESET_PREDICATE = "https://weightgate.dev/attestation/changeset/v1"

DataRole = Literal["training", "held-out", "canaries"]


class ModelVersion(Frozen):
    """One side of an update, by digest; ``name`` is a label and never trusted."""

    name: str
    root: str
    tensor_root: str
    tensor_root_blake3: str | None = Field(default=None, description="A second one, over BLAKE3 digests.")
    parameters: int
    tokenizer: str | None = None
    chat_template: str | None = None
    config: str | None = None


class TensorChange(Frozen):
    """One changed tensor."""

    name: str
    change: Literal["changed", "added", "removed", "reshaped"]
    relative_norm: float | None = Field(
        default=None, description="Frobenius norm of the difference over that of the parent."
    )
    elements_changed: int | None = Field(default=None, description="Elements whose bits differ.")
    rank: int | None = Field(
        default=None,
        description="Rank of the difference: for an adapter that of its factors, else the singular values above "
        "rounding to the dtype, where these and rounding explain it (a lower bound).",
    )


class Delta(Frozen):
    """What changed between parent and child, from the bytes."""

    kind: UpdateKind
    tensors_total: int
    tensors_changed: int
    parameters_changed_fraction: float = Field(ge=0, le=1, description="Share of parameters in changed tensors.")
    relative_norm: float | None = Field(
        default=None, description="Over all tensors both sides have, as for one tensor."
    )
    changed: tuple[TensorChange, ...] = ()
    files: tuple[str, ...] = Field(default=(), description="Names of non-weight files that differ.")
    adapter: dict[str, str] = Field(default_factory=dict, description="Type, rank, alpha, targets of an adapter.")
    facts: Facts = Field(default=Facts(), description="What is particular to this kind of update.")


class DataInput(Frozen):
    """One data set that went into the update."""

    name: str
    role: DataRole
    sha256: str
    rows: int
    rows_root: str = Field(description="Merkle root over the canonical rows: proves that a row was in the data.")
    rows_set_root: str | None = Field(
        default=None,
        description="Root over sorted digests of what the rows say: proves what is in it and what is not.",
    )
    sources: tuple[DataSource, ...] = Field(default=(), description="Where the rows were read.")


class Changeset(Frozen):
    """Predicate of the changeset statement."""

    version: Literal["1"] = "1"
    created: str = Field(description="RFC 3339 UTC time.")
    author: str = Field(description="Key id of the signer.")
    intent: str = Field(default="", description="What the author says the update is for.")
    parent: ModelVersion
    child: ModelVersion
    parent_changeset: str | None = Field(default=None, description="SHA-256 of the payload of the parent's changeset.")
    delta: Delta
    inputs: tuple[DataInput, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict, description="Tool and library versions, platform.")
    recipe: Recipe | None = Field(default=None, description="How the child was made, for `weightgate replay`.")
    claims: Claims | None = Field(default=None, description="What the author says about the weights.")


def build_changeset(
    update: Update,
    *,
    author: str,
    intent: str,
    created: str,
    inputs: Sequence[DataInput],
    parent_changeset: str | None,
    environment: Mapping[str, str],
    parent_name: str,
    child_name: str,
    recipe: Recipe | None = None,
    claims: Claims | None = None,
) -> Changeset:
    """The changeset of an update.

    Args:
        update: what was compared.
        author: key id of the signer.
        intent: what the update is for, in the author's words.
        created: RFC 3339 UTC time.
        inputs: data sets that went into the update.
        parent_changeset: SHA-256 of the payload of the parent's changeset, where the parent has one.
        environment: tool and library versions, platform.
        parent_name: label of the parent.
        child_name: label of the child.
        recipe: how the child was made.
        claims: what the author says about the weights.
    """
    from weightgate.lineage.weights.update import model_version

    return Changeset(
        created=created,
        author=author,
        intent=intent,
        parent=model_version(parent_name, update.parent_fingerprint),
        child=model_version(child_name, update.child_fingerprint),
        parent_changeset=parent_changeset,
        delta=update.delta,
        inputs=tuple(inputs),
        environment=dict(environment),
        recipe=recipe,
        claims=claims,
    )


def statement(changeset: Changeset) -> bytes:
    """The changeset as an in-toto Statement v1 about the child, in canonical JSON: the payload that is signed.

    Raises:
        InputError: the changeset holds text or numbers that have no canonical form.
    """
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": changeset.child.name, "digest": {"sha256": changeset.child.root}}],
            "predicateType": CHANGESET_PREDICATE,
            "predicate": changeset.model_dump(mode="json"),
        }
    )


def read_changeset(envelope: bytes, public_key: VerifyingKey) -> tuple[Changeset, str]:
    """The changeset in a signed envelope, and the SHA-256 of its payload, by which later changesets refer to it.

    Raises:
        IntegrityError: the envelope or its signature does not check out, the author is not the signer, or the payload
            is not exactly what `statement` writes.
    """
    payload = verify(read_envelope(envelope), public_key)
    try:
        document = parse(payload, "changeset")
        changeset = Changeset.model_validate(document["predicate"])
        exact = statement(changeset) == payload
    except (InputError, ValidationError, KeyError, TypeError) as error:
        raise IntegrityError("the signed payload is not a changeset", remedy="give a changeset file") from error
    if not exact:
        raise IntegrityError("the signed payload is not an exact changeset statement", remedy="give a changeset file")
    if changeset.author != public_key.key_id:
        raise IntegrityError(
            f"the changeset names {changeset.author} as its author, but {public_key.key_id} signed it",
            remedy="the author signs a changeset with their own key",
        )
    return changeset, sha256_hex(payload)
