"""Changes to a trust root: each gives the next version, without signatures, for its keepers to sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.signing.schemes import KeyKind
from weightgate.lineage.trust.document import (
    ROOT,
    TIME_FORMAT,
    Extension,
    Revocation,
    RoleEntry,
    RootDocument,
    Signed,
    Statement,
    TufRoles,
    read_document,
)
from weightgate.lineage.trust.root import TrustRoot, document_bytes, interpret, key_entry


def new_root(expires: datetime) -> TrustRoot:
    """The first version of a root that nobody keeps yet."""
    signed = Signed(
        version=1,
        expires=expires.astimezone(UTC).strftime(TIME_FORMAT),
        keys={},
        roles=TufRoles(root=RoleEntry()),
        extension=Extension(),
    )
    return _checked(RootDocument(signed=signed))


def next_version(root: TrustRoot) -> TrustRoot:
    """The same root as the next version, unsigned."""
    return _changed(root, version=root.version + 1)


def add_key(
    root: TrustRoot, key: VerifyingKey, role: str, *, holder: str | None = None, threshold: int | None = None
) -> TrustRoot:
    """Give a key a role, which is made where it is missing.

    Raises:
        InputError: the key was revoked, has the role already or one that excludes it, or a name or number is not
            allowed.
    """
    if key.key_id in root.revoked:
        raise InputError(
            f"the key {key.key_id} was revoked, for {root.revoked[key.key_id].reason!r}", remedy="make a new key"
        )
    if role in root.roles and root.roles[role].has(key.key_id):
        raise InputError(f"the key {key.key_id} already has the role {role}", remedy="add another key")
    keyid, entry = key_entry(key)
    old = _roles(root).get(role, RoleEntry())
    made = RoleEntry.model_construct(keyids=(*old.keyids, keyid), threshold=threshold or old.threshold)
    holders = {**root.extension.holders, **({keyid: holder} if holder else {})}
    keys = {**root.document.signed.keys, keyid: entry}
    return _changed(root, keys=keys, roles={**_roles(root), role: made}, holders=holders)


def remove_key(
    root: TrustRoot, key_id: str, role: str | None = None, *, revoke: str | None = None, now: datetime
) -> TrustRoot:
    """Take a role from a key, or all of them; with ``revoke`` (a reason) for ever.

    Raises:
        InputError: the key is not there or has no such role.
    """
    ids = {keyid for keyid, key in _by_entry(root).items() if key.key_id == key_id}
    roles = _roles(root)
    having = [name for name, entry in roles.items() if ids & set(entry.keyids) and role in (None, name)]
    if not having:
        raise InputError(f"the key {key_id} has no role{f' {role}' if role else ''}", remedy="weightgate trust show")
    if revoke is not None and role is not None:
        raise InputError("a revoked key loses all its roles", remedy="leave --role out")
    for name in having:
        left = tuple(keyid for keyid in roles[name].keyids if keyid not in ids)
        roles[name] = roles[name].model_copy(update={"keyids": left})
    roles = {name: entry for name, entry in roles.items() if entry.keyids or name == ROOT}
    used = {keyid for entry in roles.values() for keyid in entry.keyids}
    revoked = dict(root.extension.revoked)
    if revoke is not None:
        time = now.astimezone(UTC).strftime(TIME_FORMAT)
        revoked[key_id.removeprefix("sha256:")] = Revocation(time=time, reason=revoke)
    return _changed(
        root,
        keys={keyid: entry for keyid, entry in root.document.signed.keys.items() if keyid in used},
        holders={keyid: holder for keyid, holder in root.extension.holders.items() if keyid in used},
        roles=roles,
        revoked=revoked,
    )


def set_threshold(root: TrustRoot, role: str, threshold: int) -> TrustRoot:
    """Change how many have to sign for a role.

    Raises:
        InputError: no such role, or not a number from 1 to 100.
    """
    roles = _roles(root)
    if role not in roles:
        raise InputError(f"there is no role {role}", remedy=f"one of {', '.join(sorted(roles))}")
    roles[role] = RoleEntry.model_construct(keyids=roles[role].keyids, threshold=threshold)
    return _changed(root, roles=roles)


def set_second_signature(root: TrustRoot, statement: Statement, kind: KeyKind | None) -> TrustRoot:
    """Ask for a second signature by this scheme on a kind of statement, or for none."""
    wanted = {name: value for name, value in root.extension.second_signature.items() if name != statement}
    return _changed(root, second_signature={**wanted, **({statement: kind} if kind else {})})


def set_one_role_per_key(root: TrustRoot, *, only: bool) -> TrustRoot:
    """Forbid or allow that a key has two roles beside that of the root.

    Raises:
        InputError: a key has two now.
    """
    return _changed(root, one_role_per_key=only)


def set_expiry(root: TrustRoot, now: datetime, days: int) -> TrustRoot:
    """Let the root expire ``days`` from ``now`` on."""
    return _changed(root, expires=(now.astimezone(UTC) + timedelta(days=days)).strftime(TIME_FORMAT))


_SIGNED = {"version", "expires", "keys"}


def _changed(root: TrustRoot, *, roles: dict[str, RoleEntry] | None = None, **fields: Any) -> TrustRoot:
    """The root with other fields and without signatures."""
    signed = root.document.signed
    inner = {name: value for name, value in fields.items() if name not in _SIGNED}
    outer = {name: value for name, value in fields.items() if name in _SIGNED}
    if roles is not None:
        inner["roles"] = {name: entry for name, entry in roles.items() if name != ROOT}
        outer["roles"] = signed.roles.model_copy(update={"root": roles[ROOT]})
    extension = signed.extension.model_copy(update=inner)
    return _checked(RootDocument(signed=signed.model_copy(update={**outer, "extension": extension})))


def _checked(document: RootDocument) -> TrustRoot:
    """Read back as it will be read from the file, so that nothing is written that would be refused."""
    return interpret(read_document(document_bytes(document), "the change"), "the change")


def _roles(root: TrustRoot) -> dict[str, RoleEntry]:
    return {ROOT: root.document.signed.roles.root, **root.extension.roles}


def _by_entry(root: TrustRoot) -> dict[str, VerifyingKey]:
    known = {key_entry(key)[1].keyval.public: key for key in root.keys.values()}
    return {keyid: known[entry.keyval.public] for keyid, entry in root.document.signed.keys.items()}
