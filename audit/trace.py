"""Which updates learned a row, and which models come from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weightgate.audit.row_index import read_index
from weightgate.audit.run_folder import CHANGESET
from weightgate.lineage.changeset import Changeset, read_changeset
from weightgate.lineage.data.row_proof import training_input
from weightgate.lineage.data.row_set import RowSet, row_digest
from weightgate.lineage.data.rows import row_content
from weightgate.lineage.data.tables import MAX_ROW_BYTES, without_nulls
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import read_envelope, verify
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.strict_json import parse

MAX_CHANGESET = 1 << 28

Standing = Literal["in its data", "inherited", "not in its data", "unknown"]


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """A changeset whose signature was checked."""

    path: Path
    digest: str
    """SHA-256 of its payload."""
    changeset: Changeset


@dataclass(frozen=True, slots=True)
class Traced:
    """What is known about a row and one update."""

    update: SignedUpdate
    standing: Standing
    why: str


@dataclass(frozen=True, slots=True)
class Trace:
    """A row, and every update that was looked at, oldest first."""

    row: str
    """Digest of what the row says, in hexadecimal."""
    updates: tuple[Traced, ...]

    @property
    def complete(self) -> bool:
        """Whether there is an answer for every update."""
        return all(traced.standing != "unknown" for traced in self.updates)


def read_row(given: str, stdin: bytes | None = None) -> bytes:
    """Digest of the row that a user names: a JSON object as it is, or a file that holds one, or ``-`` and ``stdin``.

    Raises:
        InputError: unreadable, not one JSON object, or of no known shape.
    """
    where = "the row"
    if given.lstrip().startswith("{"):
        data = given.encode("utf-8", "surrogateescape")
    elif stdin is not None and given == "-":
        data = stdin
    else:
        where = given
        try:
            with Path(given).open("rb") as file:
                data = file.read(MAX_ROW_BYTES + 1)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{given[:200]}: cannot be read as a file", remedy="give a JSON object or a file with one row"
            ) from error
    if len(data) > MAX_ROW_BYTES:
        raise InputError(f"{where}: over {MAX_ROW_BYTES} bytes", remedy="give one row")
    document = without_nulls(parse(data, where))
    if not isinstance(document, dict):
        raise InputError(f"{where}: not a JSON object", remedy="give one row")
    return row_digest(*row_content(document, where))


def read_update(path: Path, keys: Sequence[VerifyingKey]) -> SignedUpdate:
    """The changeset in a file, signed by one of ``keys``.

    Raises:
        InputError: it cannot be read.
        IntegrityError: none of the keys signed it, or it is not a changeset.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CHANGESET)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path") from error
    envelope = read_envelope(raw)
    for key in keys:
        try:
            verify(envelope, key)
        except IntegrityError:
            continue
        changeset, digest = read_changeset(raw, key)
        return SignedUpdate(path, digest, changeset)
    raise IntegrityError(f"{path} is signed by none of the keys", remedy="give its signer's --public-key")


def find_updates(places: Iterable[Path], keys: Sequence[VerifyingKey]) -> tuple[SignedUpdate, ...]:
    """Every changeset in run folders, in folders of run folders, or given as a file; each payload once.

    Raises:
        InputError: a place without changesets.
        IntegrityError: a changeset that does not verify: it is named and nothing is reported.
    """
    found: dict[str, SignedUpdate] = {}
    for place in places:
        files = [place] if place.is_file() else sorted([*place.glob(CHANGESET), *place.glob(f"*/{CHANGESET}")])
        if not files:
            raise InputError(f"{place} holds no changeset", remedy="give run folders, their parent, or changeset files")
        for file in files:
            update = read_update(file, keys)
            found.setdefault(update.digest, update)
    return tuple(sorted(found.values(), key=lambda update: (update.changeset.created, update.digest)))


def trace(row: bytes, updates: Sequence[SignedUpdate], data: Sequence[RowSet] = ()) -> Trace:
    """Where a row stands with every update.

    Args:
        row: Its digest.
        updates: Verified changesets; those that made each other's parents, as far as there are.
        data: Data sets at hand, for updates without an index beside their changeset.

    Raises:
        IntegrityError: an index that is not the one signed.
    """
    at_hand = {rows.root.hex(): rows for rows in data}
    own = {update.digest: _own(row, update, at_hand) for update in updates}
    learned = {digest for digest, (holds, _) in own.items() if holds}
    parents = _parents(updates)
    by_digest = {update.digest: update for update in updates}
    traced = []
    for update in updates:
        holds, why = own[update.digest]
        above = _ancestors(update.digest, parents)
        standing: Standing
        if holds:
            standing = "in its data"
        elif inherited := sorted(by_digest[digest].changeset.child.name for digest in above & learned):
            standing, why = "inherited", f"from {', '.join(inherited)}"
        elif holds is None:
            standing = "unknown"
        elif gap := _gap(above | {update.digest}, by_digest, own):
            standing, why = "unknown", gap
        else:
            standing = "not in its data"
        traced.append(Traced(update, standing, why))
    return Trace(row.hex(), tuple(traced))


def _own(row: bytes, update: SignedUpdate, at_hand: Mapping[str, RowSet]) -> tuple[bool | None, str]:
    """Whether an update's own data held the row, and how that is known."""
    declared = training_input(update.changeset)
    if declared is None:
        return None, "it declares no training data"
    if declared.rows_set_root is None:
        return None, "its changeset has no root over sorted rows"
    rows = at_hand.get(declared.rows_set_root) or read_index(update.path.parent, declared.rows_set_root)
    if rows is None:
        return None, "neither its row index nor its data is here"
    return row in rows, f"{declared.rows} rows of {declared.name}"


def _parents(updates: Sequence[SignedUpdate]) -> dict[str, frozenset[str]]:
    """For every update those that made its parent: by the signed link, or because they made the very same model."""
    makers: dict[str, set[str]] = {}
    for update in updates:
        makers.setdefault(update.changeset.child.root, set()).add(update.digest)
    here = {update.digest for update in updates}
    return {
        update.digest: frozenset(
            (makers.get(update.changeset.parent.root, set()) | ({update.changeset.parent_changeset or ""} & here))
            - {update.digest}
        )
        for update in updates
    }


def _ancestors(digest: str, parents: Mapping[str, frozenset[str]]) -> frozenset[str]:
    seen: set[str] = set()
    open_ = list(parents[digest])
    while open_:
        one = open_.pop()
        if one not in seen:
            seen.add(one)
            open_ += parents[one]
    return frozenset(seen - {digest})


def _gap(
    digests: frozenset[str], updates: Mapping[str, SignedUpdate], own: Mapping[str, tuple[bool | None, str]]
) -> str:
    """Why nothing can be said about an update with these ancestors, itself among them; empty where all is known."""
    for digest in sorted(digests):
        changeset = updates[digest].changeset
        if changeset.parent_changeset is not None and changeset.parent_changeset not in updates:
            return f"the changeset that made {changeset.parent.name} is not here"
        holds, why = own[digest]
        if holds is None:
            return f"{changeset.child.name}, which it comes from: {why}"
    return ""
