"""The shape of a trust root: a TUF ``root.json`` with the project's own roles in one signed extension.

TUF's root has four fixed roles, and delegations of its ``targets`` role would bring a second file with versions of its
own and nothing to hold the two together. So the approval roles stand in the root itself: whoever may change the root
may change them, one file is signed in turn, and any TUF implementation verifies and rotates it. ``targets``,
``snapshot`` and ``timestamp`` have no keys: nothing can ever be signed in their name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.schemes import KeyKind
from weightgate.lineage.strict_json import parse

MAX_ROOT_BYTES = 1_000_000
SIGNER = "signer"
"""The role whose keys may sign changesets and verdicts; all other roles of the extension approve."""
ROOT = "root"
"""The role whose keys sign the root itself."""
SCHEMES: dict[str, tuple[str, KeyKind]] = {
    "ed25519": ("ed25519", "ed25519"),
    "ecdsa-sha2-nistp256": ("ecdsa", "ecdsa-p256"),
    "ml-dsa-65/1": ("ml-dsa", "ml-dsa-65"),
}
"""TUF scheme: its TUF key type, and what it is here."""

KeyId: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
RoleName: TypeAlias = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,31}$")]
Statement: TypeAlias = Literal["changeset", "verdict", "model"]


def _real(time: str) -> str:
    datetime.strptime(time, TIME_FORMAT)  # whether there is such a day
    return time


TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
Time: TypeAlias = Annotated[
    str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"), AfterValidator(_real)
]
Threshold: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=100)]
Label: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]

_REMEDY = "get the file again from whoever keeps it, or make one with weightgate trust init"


class PublicValue(Frozen):
    """The key itself: hexadecimal for Ed25519, else PEM SubjectPublicKeyInfo."""

    public: Annotated[str, Field(max_length=10_000)]


class KeyEntry(Frozen):
    """A public key as TUF writes it."""

    keytype: Literal["ed25519", "ecdsa", "ml-dsa"]
    scheme: Literal["ed25519", "ecdsa-sha2-nistp256", "ml-dsa-65/1"]
    keyval: PublicValue


class RoleEntry(Frozen):
    """Who has a role, and how many of them have to sign."""

    keyids: Annotated[tuple[KeyId, ...], Field(max_length=100)] = ()
    threshold: Threshold = 1


class TufRoles(Frozen):
    """The four roles of TUF."""

    root: RoleEntry
    targets: RoleEntry = RoleEntry()
    snapshot: RoleEntry = RoleEntry()
    timestamp: RoleEntry = RoleEntry()


class Revocation(Frozen):
    """Why a key is not believed any more, whatever it signed and whenever."""

    time: Time
    reason: Annotated[str, Field(max_length=1000)] = ""


class Extension(Frozen):
    """What TUF has no field for; signed with the rest."""

    version: Literal["1"] = "1"
    holders: dict[KeyId, Label] = Field(
        default_factory=dict, description="Who holds a key: keys of one holder count once towards a threshold."
    )
    roles: Annotated[dict[RoleName, RoleEntry], Field(max_length=50)] = Field(default_factory=dict)
    one_role_per_key: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="Whether a key may have one of these roles only; the root role is not counted."
    )
    second_signature: dict[Statement, KeyKind] = Field(
        default_factory=dict, description="Scheme of the second signature that a statement has to carry."
    )
    revoked: dict[KeyId, Revocation] = Field(default_factory=dict)


class Signed(Frozen):
    """The signed part."""

    model_config = ConfigDict(populate_by_name=True)

    type_: Literal["root"] = Field(default="root", alias="_type")
    spec_version: Literal["1.0.31"] = "1.0.31"
    version: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    expires: Time
    consistent_snapshot: Annotated[bool, Field(strict=True)] = True
    keys: Annotated[dict[KeyId, KeyEntry], Field(max_length=200)]
    roles: TufRoles
    extension: Extension = Field(alias="x-weightgate")


class SignatureEntry(Frozen):
    """One signature over the signed part."""

    keyid: KeyId
    sig: Annotated[str, Field(pattern="^([0-9a-f]{2})*$", max_length=20_000)]


class RootDocument(Frozen):
    """All of ``root.json``."""

    signed: Signed
    signatures: Annotated[tuple[SignatureEntry, ...], Field(max_length=200)] = ()


def read_document(data: bytes, what: str) -> RootDocument:
    """Read a root of this shape and no other. Nothing is believed yet: signatures are not checked here.

    Raises:
        InputError: too large, not strict JSON, a field that is missing, unknown or out of range, or two signatures for
            one key; the message starts with ``what``.
    """
    if len(data) > MAX_ROOT_BYTES:
        raise InputError(f"{what}: over {MAX_ROOT_BYTES} bytes, no trust root", remedy=_REMEDY)
    plain = parse(data, what)
    try:
        document = RootDocument.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])[:200] or "document"
        raise InputError(f"{what}: no trust root: {where}: {first['msg']}", remedy=_REMEDY) from error
    ids = [entry.keyid for entry in document.signatures]
    if len(set(ids)) != len(ids):
        raise InputError(f"{what}: no trust root: two signatures for one key", remedy=_REMEDY)
    return document
