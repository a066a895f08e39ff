"""A proof that a row was, or was not, in the training data of an update; checked against the signed changeset alone."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.changeset import Changeset, DataInput
from weightgate.lineage.data.row_set import Leaf, RowSet, is_present
from weightgate.lineage.data.source import Hex
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.strict_json import parse

MAX_PROOF_BYTES = 100_000


class ProofLeaf(Frozen):
    """A digest of the set, and the hashes beside the way from it to the root."""

    index: int = Field(ge=0)
    row: Hex
    path: tuple[Hex, ...] = Field(max_length=64)


class RowProof(Frozen):
    """Says of one row digest that it is in the data of one changeset, or that it is not.

    It shows the digest, at most two neighbouring digests, and hashes of groups of others: no text of any row.
    """

    version: Literal["1"] = "1"
    changeset: Hex = Field(description="SHA-256 of the payload of the changeset.")
    rows_set_root: Hex
    size: int = Field(ge=1, description="Distinct rows in the data.")
    row: Hex = Field(description="Digest of what the row says.")
    present: bool
    leaves: Annotated[tuple[ProofLeaf, ...], Field(min_length=1, max_length=2)]

    def to_bytes(self) -> bytes:
        """As a file."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()


def training_input(changeset: Changeset) -> DataInput | None:
    """The training data that a changeset declares; None where it declares none."""
    return next((data for data in changeset.inputs if data.role == "training"), None)


def prove(rows: RowSet, row: bytes, changeset: str) -> RowProof:
    """The proof about ``row`` for the changeset of that payload digest."""
    return RowProof(
        changeset=changeset,
        rows_set_root=rows.root.hex(),
        size=len(rows.digests),
        row=row.hex(),
        present=row in rows,
        leaves=tuple(
            ProofLeaf(index=leaf.index, row=leaf.digest.hex(), path=tuple(node.hex() for node in leaf.path))
            for leaf in rows.proof(row)
        ),
    )


def read_proof(data: bytes, what: str) -> RowProof:
    """Read a proof.

    Raises:
        InputError: not a proof.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise InputError(f"{what}: over {MAX_PROOF_BYTES} bytes, too large for a proof", remedy="give a proof file")
    try:
        return RowProof.model_validate(parse(data, what))
    except ValidationError as error:
        raise InputError(f"{what}: not a row proof", remedy="make one with weightgate rows prove") from error


def check(proof: RowProof, changeset: Changeset, payload: str) -> DataInput:
    """The data that the proof is about, once it holds.

    Raises:
        IntegrityError: it is of another changeset, or does not lead to the signed root.
    """
    remedy = "ask for a proof made from the data of this update"
    if proof.changeset != payload:
        raise IntegrityError(
            f"the proof is for changeset {proof.changeset[:12]}…, this is {payload[:12]}…", remedy=remedy
        )
    data = training_input(changeset)
    if data is None or data.rows_set_root != proof.rows_set_root:
        raise IntegrityError("the proof is for other data than the changeset signs", remedy=remedy)
    leaves = tuple(
        Leaf(leaf.index, bytes.fromhex(leaf.row), tuple(bytes.fromhex(node) for node in leaf.path))
        for leaf in proof.leaves
    )
    found = is_present(bytes.fromhex(data.rows_set_root), proof.size, bytes.fromhex(proof.row), leaves)
    if found is None or found != proof.present:
        raise IntegrityError("the proof does not hold: it does not lead to the signed root", remedy=remedy)
    return data
