"""A trust root: who may sign and who may approve, believed because enough of its keepers signed it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey, parse_verifying_key
from weightgate.lineage.trust.document import (
    ROOT,
    SCHEMES,
    SIGNER,
    TIME_FORMAT,
    Extension,
    KeyEntry,
    Revocation,
    RoleEntry,
    RootDocument,
    SignatureEntry,
    read_document,
)


@dataclass(frozen=True, slots=True)
class Role:
    """The keys of a role, each once whatever ids it is listed under, and how many holders have to sign."""

    name: str
    threshold: int
    keys: tuple[VerifyingKey, ...]

    def has(self, key_id: str) -> bool:
        """Whether a key has the role."""
        return any(key.key_id == key_id for key in self.keys)


@dataclass(frozen=True, slots=True)
class Signatures:
    """Which keys of a root role signed a root, and whether they are enough."""

    threshold: int
    signed: tuple[VerifyingKey, ...]
    holders: frozenset[str]

    @property
    def enough(self) -> bool:
        """Whether the threshold is met."""
        return len(self.holders) >= self.threshold


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """A root as it was read. Holding one says nothing: `signatures_by` tells who vouches for it."""

    document: RootDocument
    keys: Mapping[str, VerifyingKey]
    """Each key once, by its own id (``sha256:`` and the digest of its SubjectPublicKeyInfo)."""
    roles: Mapping[str, Role]
    """``root``, and those of the extension."""
    holders: Mapping[str, str]
    revoked: Mapping[str, Revocation]

    @property
    def version(self) -> int:
        """Its version, from 1."""
        return self.document.signed.version

    @property
    def extension(self) -> Extension:
        """The project's own part."""
        return self.document.signed.extension

    @property
    def expires(self) -> datetime:
        """From when on it is not believed."""
        return datetime.strptime(self.document.signed.expires, TIME_FORMAT).replace(tzinfo=UTC)

    @property
    def approval_roles(self) -> tuple[Role, ...]:
        """The roles that approve, by name."""
        return tuple(self.roles[name] for name in sorted(self.roles) if name not in (ROOT, SIGNER))

    @property
    def signers(self) -> tuple[VerifyingKey, ...]:
        """Who may sign changesets and verdicts."""
        role = self.roles.get(SIGNER)
        return role.keys if role else ()

    @property
    def payload(self) -> bytes:
        """The bytes that are signed: TUF's canonical JSON of the signed part."""
        return _metadata(self.document).signed_bytes

    def holder(self, key_id: str) -> str:
        """Who holds a key: the name the root gives, else the id of the key."""
        return self.holders.get(key_id, key_id)

    def signatures_by(self, judge: TrustRoot) -> Signatures:
        """Which of the root keys of ``judge`` signed this root. Keys of one holder count once."""
        metadata = _metadata(self.document)
        result = _metadata(judge.document).signed.get_verification_result(ROOT, self.payload, metadata.signatures)
        signed = {
            key.key_id: key for key in (_key(judge.document.signed.keys[keyid], keyid) for keyid in result.signed)
        }
        return Signatures(
            threshold=result.threshold,
            signed=tuple(signed.values()),
            holders=frozenset(judge.holder(key_id) for key_id in signed),
        )

    def to_bytes(self) -> bytes:
        """The file form: canonical JSON and a newline."""
        return document_bytes(self.document)


def read_root(data: bytes, what: str) -> TrustRoot:
    """Read a root. Nothing is believed yet.

    Raises:
        InputError: not of the shape, a key that cannot be read, a role with a key that is not there, a key with more
            roles than allowed, a revoked key that is in use, or a TUF role other than root with keys.
    """
    return interpret(read_document(data, what), what)


def interpret(document: RootDocument, what: str) -> TrustRoot:
    """The meaning of a document; see `read_root`."""
    signed, extension = document.signed, document.signed.extension
    by_entry = {keyid: _key(entry, f"{what}: key {keyid[:12]}…") for keyid, entry in signed.keys.items()}
    for name in ("targets", "snapshot", "timestamp"):
        if getattr(signed.roles, name).keyids:
            raise _wrong(what, f"the TUF role {name} has keys, which nothing here uses")
    entries = {ROOT: signed.roles.root, **extension.roles}
    if reserved := {"targets", "snapshot", "timestamp", ROOT} & extension.roles.keys():
        raise _wrong(what, f"{min(reserved)} is a role of TUF, not one that approves")
    roles = {name: _role(name, entry, by_entry, what) for name, entry in entries.items()}
    holders = _holders(extension.holders, by_entry, what)
    revoked = {f"sha256:{keyid}": revocation for keyid, revocation in extension.revoked.items()}
    if used := {key.key_id for key in by_entry.values()} & revoked.keys():
        raise _wrong(what, f"the key {min(used)} is revoked and in use")
    root = TrustRoot(document, {key.key_id: key for key in by_entry.values()}, roles, holders, revoked)
    _check_roles(root, what)
    return root


def check_reachable(root: TrustRoot, what: str) -> None:
    """Every threshold can be met by the holders that have the role.

    Raises:
        InputError: one cannot.
    """
    for role in root.roles.values():
        people = {root.holder(key.key_id) for key in role.keys}
        if len(people) < role.threshold:
            raise InputError(
                f"{what}: role {role.name} asks for {role.threshold}, and {len(people)} hold keys of it",
                remedy="add keys with weightgate trust add-key, or lower the threshold with trust set",
            )


def check_link(new: TrustRoot, old: TrustRoot, what: str) -> None:
    """A root follows another: its version is the next, both thresholds are met, and no revocation was taken back.

    Raises:
        IntegrityError: it does not.
    """
    if new.version != old.version + 1:
        raise IntegrityError(f"{what}: version {new.version} does not follow {old.version}", remedy=_FOLLOW)
    if lost := old.revoked.keys() - new.revoked.keys():
        raise IntegrityError(f"{what}: takes back the revocation of {min(lost)}", remedy=_FOLLOW)
    for judge in (old, new):
        check_signed(new, judge, what)


def check_signed(root: TrustRoot, judge: TrustRoot, what: str) -> None:
    """The root threshold of ``judge`` is met.

    Raises:
        IntegrityError: it is not.
    """
    found = root.signatures_by(judge)
    if not found.enough:
        raise IntegrityError(
            f"{what}: signed by {len(found.holders)} of the {found.threshold} that version {judge.version} of the "
            "trust root asks for",
            remedy="have it signed with weightgate trust sign, or get the file again",
        )


def sign_root(root: TrustRoot, key: SigningKey) -> TrustRoot:
    """The root with one more signature, as TUF signs: ML-DSA over a hash (TAP 21), the others over the payload."""
    payload = root.payload
    if key.public.kind == "ml-dsa-65":
        payload = b"tuf\x01" + hashlib.sha512(payload).digest()
    entry = SignatureEntry(keyid=key.key_id.removeprefix("sha256:"), sig=key.sign(payload).hex())
    return with_signatures(root, [entry])


def with_signatures(root: TrustRoot, entries: list[SignatureEntry]) -> TrustRoot:
    """The root with these signatures too; one that is there for the same key is replaced."""
    kept = {entry.keyid: entry for entry in (*root.document.signatures, *entries)}
    document = root.document.model_copy(update={"signatures": tuple(kept[keyid] for keyid in sorted(kept))})
    return interpret(document, "trust root")


def document_bytes(document: RootDocument) -> bytes:
    """Canonical JSON and a newline."""
    return canonical(document.model_dump(mode="json", by_alias=True)) + b"\n"


def key_entry(key: VerifyingKey) -> tuple[str, KeyEntry]:
    """How TUF writes a key, under the digest of its SubjectPublicKeyInfo."""
    keyid = key.key_id.removeprefix("sha256:")
    return keyid, KeyEntry.model_validate(SSlibKey.from_crypto(key.raw, keyid=keyid).to_dict())


def _metadata(document: RootDocument) -> Metadata[Root]:
    return Metadata[Root].from_dict(document.model_dump(mode="json", by_alias=True))


def _key(entry: KeyEntry, what: str) -> VerifyingKey:
    keytype, kind = SCHEMES[entry.scheme]
    text = entry.keyval.public
    try:
        if kind == "ed25519":
            key = VerifyingKey.of(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)), what)
        else:
            key = parse_verifying_key(text.encode(), what)
    except ValueError as error:
        raise _wrong(what, "not an Ed25519 key in hexadecimal") from error
    if (entry.keytype, key.kind) != (keytype, kind):
        raise _wrong(what, f"not a key of scheme {entry.scheme}")
    return key


def _role(name: str, entry: RoleEntry, keys: Mapping[str, VerifyingKey], what: str) -> Role:
    if unknown := [keyid for keyid in entry.keyids if keyid not in keys]:
        raise _wrong(what, f"role {name} has the key {unknown[0][:12]}…, which is not there")
    if len(set(entry.keyids)) != len(entry.keyids):
        raise _wrong(what, f"role {name} lists a key twice")
    if name == SIGNER and entry.threshold != 1:
        raise _wrong(what, f"the threshold of {SIGNER} is {entry.threshold}: one signs a changeset")
    distinct = {keys[keyid].key_id: keys[keyid] for keyid in entry.keyids}
    return Role(name, entry.threshold, tuple(distinct.values()))


def _holders(stated: Mapping[str, str], keys: Mapping[str, VerifyingKey], what: str) -> dict[str, str]:
    holders: dict[str, str] = {}
    for keyid, holder in stated.items():
        if keyid not in keys:
            raise _wrong(what, f"names a holder of the key {keyid[:12]}…, which is not there")
        if holders.setdefault(keys[keyid].key_id, holder) != holder:
            raise _wrong(what, f"one key has two holders, {holder!r} among them")
    return holders


def _check_roles(root: TrustRoot, what: str) -> None:
    if not root.extension.one_role_per_key:
        return
    for key_id in root.keys:
        names = sorted(role.name for role in root.roles.values() if role.name != ROOT and role.has(key_id))
        if len(names) > 1:
            raise _wrong(
                what, f"the key {key_id[:19]}… has the roles {' and '.join(names)}, and one_role_per_key is set"
            )


def _wrong(what: str, fault: str) -> InputError:
    return InputError(f"{what}: no trust root: {fault}", remedy="correct it with weightgate trust, or get it again")


_FOLLOW = "do not trust it; get the roots again from whoever keeps them"
