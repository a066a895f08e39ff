"""An approval: one person's signed yes to one update, in one role, as an in-toto statement about the child.

One envelope holds one signature. DSSE would allow several, but each approver says something else (role, reason, time),
so each signs a statement of their own, in a file of their own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen, canonical
from weightgate.lineage.changeset import STATEMENT_TYPE
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.strict_json import parse
from weightgate.lineage.trust.document import RoleName, Time

APPROVAL_PREDICATE = "https://weightgate.dev/attestation/approval/v1"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Update(Frozen):
    """What an approval is about, by digest."""

    name: str = Field(description="Label of the child; never trusted.")
    child: Sha256 = Field(description="Root of the child's fingerprint.")
    changeset: Sha256 = Field(description="SHA-256 of the signed payload of the changeset.")
    verdict: Sha256 = Field(description="SHA-256 of the signed payload of the verdict.")


class Approval(Frozen):
    """Predicate of the approval statement."""

    version: Literal["1"] = "1"
    approver: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")] = Field(description="Key id of the signer.")
    role: RoleName
    reason: Annotated[str, Field(max_length=10_000)] = ""
    time: Time
    changeset: Sha256
    verdict: Sha256


def approval_statement(approval: Approval, update: Update) -> bytes:
    """The statement in canonical JSON: the payload that is signed.

    Raises:
        InputError: it holds text that has no canonical form.
    """
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": update.name, "digest": {"sha256": update.child}}],
            "predicateType": APPROVAL_PREDICATE,
            "predicate": approval.model_dump(mode="json"),
        }
    )


def read_approval(payload: bytes, what: str) -> tuple[Approval, Update]:
    """Read a signed payload; only exactly what `approval_statement` writes is accepted.

    Raises:
        IntegrityError: anything else; the message starts with ``what``.
    """
    try:
        document = parse(payload, what)
        approval = Approval.model_validate(document["predicate"])
        (subject,) = document["subject"]
        update = Update(
            name=subject["name"],
            child=subject["digest"]["sha256"],
            changeset=approval.changeset,
            verdict=approval.verdict,
        )
        exact = approval_statement(approval, update) == payload
    except (InputError, ValidationError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{what}: the signed payload is not an approval", remedy=_REMEDY) from error
    if not exact:
        raise IntegrityError(f"{what}: the signed payload is not an exact approval", remedy=_REMEDY)
    return approval, update


_REMEDY = "have the update approved again with weightgate approve"
