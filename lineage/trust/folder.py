"""Where a trust root lies: ``N.root.json`` for each version, ``root.json`` for the newest, and a draft of the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey
from weightgate.lineage.signing.oms import write_atomically
from weightgate.lineage.trust.document import MAX_ROOT_BYTES
from weightgate.lineage.trust.edit import next_version
from weightgate.lineage.trust.root import (
    TrustRoot,
    check_link,
    check_reachable,
    check_signed,
    read_root,
    sign_root,
    with_signatures,
)

NEWEST, DRAFT = "root.json", "draft.root.json"
MAX_VERSIONS = 1000
_INIT = "make a root with weightgate trust init"


def read_root_file(path: Path) -> TrustRoot:
    """Read a root or a draft. Nothing is believed yet.

    Raises:
        InputError: it cannot be read, or as `read_root`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy=_INIT) from error
    return read_root(data, str(path))


def load_trust(path: Path) -> TrustRoot:
    """The root to believe: the one at ``path``, or the newest that follows from it by the versions beside it.

    The root that is named is where trust starts: it has to be signed as it asks itself, and by the version before it
    where that lies beside it. Each later version has to be signed as its predecessor and as it asks itself (TUF §5.3).
    Whether it has expired is for the caller to judge.

    Raises:
        InputError: it cannot be read, or is no trust root.
        IntegrityError: a version that is not signed by enough of its keepers.
    """
    file = path / NEWEST if path.is_dir() else path
    root = read_root_file(file)
    check_reachable(root, str(file))
    check_signed(root, root, str(file))
    before = version_file(file.parent, root.version - 1)
    if before.exists():
        check_link(root, read_root_file(before), str(file))
    for _ in range(MAX_VERSIONS):
        later = version_file(file.parent, root.version + 1)
        if not later.exists():
            return root
        new = read_root_file(later)
        check_link(new, root, str(later))
        check_reachable(new, str(later))
        root = new
    raise IntegrityError(f"{path}: over {MAX_VERSIONS} versions follow it", remedy="start from a newer root")


def version_file(folder: Path, version: int) -> Path:
    """The file of a version."""
    return folder / f"{version}.root.json"


def open_draft(folder: Path) -> TrustRoot:
    """The root to change: the draft that is there, or the next version of the newest.

    Raises:
        InputError: there is neither.
        IntegrityError: the newest does not check out.
    """
    if (folder / DRAFT).exists():
        return read_root_file(folder / DRAFT)
    if not (folder / NEWEST).exists():
        raise InputError(f"{folder}: holds no {NEWEST} and no draft of one", remedy=_INIT)
    return next_version(load_trust(folder))


def write_draft(folder: Path, draft: TrustRoot) -> Path:
    """Write a draft, which replaces the one that is there.

    Raises:
        InputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}", remedy="choose another folder") from error
    write_atomically(folder / DRAFT, draft.to_bytes())
    return folder / DRAFT


@dataclass(frozen=True, slots=True)
class Signing:
    """What signing a draft came to."""

    root: TrustRoot
    file: Path
    """The draft, or the version that it became."""
    complete: bool
    missing: tuple[str, ...]
    """What is still needed, in words."""


def sign_draft(path: Path, key: SigningKey | None, others: tuple[Path, ...] = ()) -> Signing:
    """Sign a draft, and take over the signatures of copies of it; once there are enough, it becomes the newest root.

    Args:
        path: folder of the root, or the draft alone, as it was sent to someone.
        key: who signs; None only to take over.
        others: copies of the same draft that others signed.

    Raises:
        InputError: no draft, a key that has no say in it, a threshold that cannot be met, or a copy of another draft.
        IntegrityError: the version before it does not check out.
    """
    file = path / DRAFT if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise InputError(f"{path}: holds no draft to sign", remedy="change the root first, or name the file to sign")
    draft = read_root_file(file)
    check_reachable(draft, str(file))
    previous = _previous(file.parent, draft)
    for other in others:
        draft = _take_over(draft, other)
    if key is not None:
        if not any(judge.roles["root"].has(key.key_id) for judge in (draft, *previous)):
            raise InputError(f"{key.key_id} is no key of the root role", remedy="sign with the key of a keeper")
        draft = sign_root(draft, key)
    missing = _missing(draft, previous)
    if missing:
        write_atomically(file, draft.to_bytes())
        return Signing(draft, file, complete=False, missing=missing)
    for judge in previous:
        check_link(draft, judge, str(file))
    done = version_file(file.parent, draft.version)
    if done.exists():
        raise InputError(f"{done}: exists and is not overwritten", remedy="this version was made already")
    write_atomically(done, draft.to_bytes())
    write_atomically(file.parent / NEWEST, draft.to_bytes())
    file.unlink()
    return Signing(draft, done, complete=True, missing=())


def missing_signatures(folder: Path, draft: TrustRoot) -> tuple[str, ...]:
    """What a draft still needs, in words."""
    return _missing(draft, _previous(folder, draft))


def _previous(folder: Path, draft: TrustRoot) -> tuple[TrustRoot, ...]:
    file = version_file(folder, draft.version - 1)
    return (load_trust(file),) if file.exists() else ()


def _missing(draft: TrustRoot, previous: tuple[TrustRoot, ...]) -> tuple[str, ...]:
    said = []
    for judge in (*previous, draft):
        found = draft.signatures_by(judge)
        if not found.enough:
            more = found.threshold - len(found.holders)
            said.append(f"{more} more signature{'s' * (more > 1)} of version {judge.version}'s keepers")
    if draft.version > 1 and not previous:
        said.append(f"to lie beside {draft.version - 1}.root.json, whose keepers have to agree")
    return tuple(said)


def _take_over(draft: TrustRoot, other: Path) -> TrustRoot:
    copy = read_root_file(other)
    if copy.payload != draft.payload:
        raise InputError(f"{other}: a copy of another draft", remedy="have the present draft signed")
    return with_signatures(draft, list(copy.document.signatures))
