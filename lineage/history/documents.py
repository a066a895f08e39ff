"""The signed documents of a ledger, as in-toto statements, and the entries of the log that commit to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen, canonical, sha256_hex
from weightgate.lineage.changeset import STATEMENT_TYPE, Changeset, ModelVersion, read_changeset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import read_envelope, sign, verify
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey
from weightgate.lineage.strict_json import parse

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
KeyId = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]

_REMEDY = "do not trust it; restore the ledger from git"


class Entry(Frozen):
    """One entry of the log: what kind of document, and its digests. Its canonical JSON is what the log hashes."""

    type: str = Field(pattern="^[a-z][a-z-]{0,31}$")
    id: Sha256 = Field(description="Of the signed payload; documents refer to each other by it.")
    sha256: Sha256 = Field(description="Of the file.")
    path: str = Field(pattern=r"^[a-z]+(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?$|^[a-z]+\.[a-z]+$", max_length=200)
    about: Sha256 | None = Field(default=None, description="Id of the document that it answers.")


class Document(Frozen):
    """What every document of a ledger says beside its own matter."""

    kind: ClassVar[str]
    version: Literal["1"] = "1"
    created: str = Field(description="RFC 3339 UTC time, as the author says; the order is that of the log.")
    author: KeyId

    @property
    def subject(self) -> Mapping[str, str]:
        """Name and SHA-256 of what the statement is about."""
        raise NotImplementedError


class Genesis(Document):
    """The model that the history begins with, and the rules it begins under."""

    kind: ClassVar[str] = "genesis"
    model: ModelVersion
    tensors: tuple[str, ...] = Field(description="Names of its tensors.")
    config: Sha256 = Field(description="Of config.yaml.")
    policy_file: Sha256 = Field(description="Of policy.yaml.")
    policy: Sha256 = Field(description="Digest of the policy, as verdicts name it.")
    keys: tuple[KeyId, ...] = Field(description="Who may sign.")

    @property
    def subject(self) -> Mapping[str, str]:
        """The model."""
        return {"name": self.model.name, "sha256": self.model.root}


class Attempt(Document):
    """Said before any probe runs: what will be measured, and by which policy it will be judged."""

    kind: ClassVar[str] = "attempt"
    changeset: Sha256
    parent: Sha256
    child: Sha256
    number: int = Field(ge=1, description="Which attempt at this child it is.")
    policy: Sha256
    policy_name: str
    probes: tuple[tuple[str, str], ...] = Field(description="Name and version of each probe that is asked.")
    seed: int
    tool: str
    plan: Sha256 = Field(description="Digest of everything that the result depends on.")

    @property
    def subject(self) -> Mapping[str, str]:
        """The child."""
        return {"name": "child", "sha256": self.child}


class Event(Document):
    """Something decided by people, and why."""

    reason: str = Field(min_length=1, max_length=4000)


class Rollback(Event):
    """An earlier model is the one in use again."""

    kind: ClassVar[str] = "rollback"
    root: Sha256 = Field(description="Of the model.")
    changeset: Sha256 | None = Field(default=None, description="That made it; none for the genesis.")

    @property
    def subject(self) -> Mapping[str, str]:
        """The model."""
        return {"name": "model", "sha256": self.root}


class Revoke(Event):
    """An update is not to be used any more, nor is anything that was made from it."""

    kind: ClassVar[str] = "revoke"
    changeset: Sha256
    data: tuple[Sha256, ...] = Field(
        default=(), description="Digests of its training data: whatever else was trained on it falls too."
    )

    @property
    def subject(self) -> Mapping[str, str]:
        """The changeset."""
        return {"name": "changeset", "sha256": self.changeset}


class PolicyChange(Event):
    """From here on the repository's policy is another one."""

    kind: ClassVar[str] = "policy"
    policy_file: Sha256
    policy: Sha256

    @property
    def subject(self) -> Mapping[str, str]:
        """The policy file."""
        return {"name": "policy.yaml", "sha256": self.policy_file}


class Admit(Event):
    """From here on one more key may sign."""

    kind: ClassVar[str] = "admit"
    key: KeyId

    @property
    def subject(self) -> Mapping[str, str]:
        """The key."""
        return {"name": "key", "sha256": self.key.removeprefix("sha256:")}


DOCUMENTS: Mapping[str, type[Document]] = {
    model.kind: model for model in (Genesis, Attempt, Rollback, Revoke, PolicyChange, Admit)
}
FOLDERS: Mapping[str, str] = {
    "changeset": "changesets",
    "attempt": "attempts",
    "verdict": "verdicts",
    "approval": "approvals",
}
"""Where documents of a type lie; those of other types lie in ``events``."""


def path_of(kind: str, identity: str) -> str:
    """Path of a document below the folder of the ledger."""
    return "genesis.json" if kind == Genesis.kind else f"{FOLDERS.get(kind, 'events')}/{identity}.json"


def predicate_type(kind: str) -> str:
    """Predicate type of the statements of a kind."""
    return f"https://weightgate.dev/attestation/{kind}/v1"


def signed(document: Document, key: SigningKey) -> bytes:
    """The document as a signed envelope.

    Raises:
        InputError: it has no canonical form.
    """
    return sign(_statement(document), key).to_bytes()


def read_document(kind: str, envelope: bytes, keys: Mapping[str, VerifyingKey]) -> tuple[Document | Changeset, str]:
    """The document in a signed envelope and its id, for the kinds in `DOCUMENTS` and changesets.

    Raises:
        IntegrityError: not signed by one of ``keys``, by another than its author, or not exactly such a document.
    """
    opened = read_envelope(envelope)
    key = signer(kind, opened.key_id, keys)
    if kind == "changeset":
        return read_changeset(envelope, key)
    payload = verify(opened, key)
    try:
        document = DOCUMENTS[kind].model_validate(parse(payload, kind)["predicate"])
        exact = _statement(document) == payload and document.author == key.key_id
    except (InputError, ValidationError, KeyError, TypeError) as error:
        raise IntegrityError(f"the signed payload is no {kind}", remedy=_REMEDY) from error
    if not exact:
        raise IntegrityError(f"the signed payload is not exactly a {kind} by its signer", remedy=_REMEDY)
    return document, sha256_hex(payload)


def signer(what: str, key_id: str, keys: Mapping[str, VerifyingKey]) -> VerifyingKey:
    """The key of that id.

    Raises:
        IntegrityError: it is none of ``keys``.
    """
    if key_id not in keys:
        raise IntegrityError(
            f"{what}: signed by {key_id}, who may not sign here", remedy="admit the key with weightgate admit"
        )
    return keys[key_id]


def read_entry(data: bytes, index: int) -> Entry:
    """Parse an entry of the log; only its canonical form counts.

    Raises:
        IntegrityError: not an entry of a ledger.
    """
    try:
        entry = Entry.model_validate(parse(data, "entry"))
        exact = canonical(entry) == data
    except (InputError, ValidationError) as error:
        raise IntegrityError(f"entry {index} of the log is no entry of a ledger", remedy=_REMEDY) from error
    if not exact:
        raise IntegrityError(f"entry {index} of the log is not in canonical form", remedy=_REMEDY)
    return entry


def _statement(document: Document) -> bytes:
    subject = document.subject
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject["name"], "digest": {"sha256": subject["sha256"]}}],
        "predicateType": predicate_type(document.kind),
        "predicate": document.model_dump(mode="json"),
    }
    return canonical(statement)
