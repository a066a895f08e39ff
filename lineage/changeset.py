"""The changeset: a pull request for weights, as an in-toto statement."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weightgate.lineage.canonical import Frozen

CHANGESET_PREDICATE = "https://weightgate.dev/attestation/changeset/v1"

UpdateKind = Literal["identical", "full", "partial", "adapter", "tokenizer-only", "files-only"]


class ModelVersion(Frozen):
    """One side of an update, by digest; ``name`` is a label and never trusted."""

    name: str
    root: str
    tensor_root: str
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


class DataInput(Frozen):
    """One data set that went into the update."""

    name: str
    role: Literal["training", "held-out", "canaries"]
    sha256: str
    rows: int
    rows_root: str = Field(description="Merkle root over the canonical rows: proves that a row was in the data.")


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
