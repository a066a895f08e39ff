"""The audit record: one document with everything an audit saw and decided; every report is a view of it."""

from __future__ import annotations

from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.changeset import Changeset
from weightgate.policies.decision import Decision
from weightgate.policies.policy import Policy
from weightgate.probes.evidence import ProbeResult

RECORD_VERSION = "1"


class ProbeCost(Frozen):
    """What one probe spent; kept out of the evidence, which must not depend on the machine's speed."""

    probe: str
    seconds: float = Field(ge=0)
    scored_tokens: int = Field(ge=0, description="Tokens put through a model, both sides.")
    cached: int = Field(ge=0, description="Requests answered from the cache.")
    requests: int = Field(ge=0, description="Requests made.")


class AttemptRef(Frozen):
    """Where the audit was announced before it ran, in the ledger of a repository."""

    id: str
    number: int = Field(ge=1, description="Which attempt at this child it is.")


class AuditRecord(Frozen):
    """One audit of one update."""

    record_version: str = RECORD_VERSION
    tool: str = Field(description="Name and version of the auditing tool.")
    created: str = Field(description="RFC 3339 UTC time at which the audit was decided.")
    seed: int
    engine: dict[str, str] = Field(description="Numerics the scores depend on: dtype, library versions, batch plan.")
    changeset_digest: str = Field(description="SHA-256 of the signed changeset payload.")
    changeset: Changeset
    results: tuple[ProbeResult, ...]
    policy: Policy
    decision: Decision
    item_order_key: str = Field(
        default="",
        description="Where probes were allowed to stop early: hexadecimal key of the order of items, told afterwards.",
    )
    costs: tuple[ProbeCost, ...] = ()
    attempt: AttemptRef | None = Field(default=None, description="None where no ledger records the audit.")
