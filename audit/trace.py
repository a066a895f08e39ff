"""Which updates learned a row, and which models come from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weightgate.audit.row_index import read_index
from weightgate.audit.signed_updates import SignedUpdate
from weightgate.lineage.data.row_proof import training_input
from weightgate.lineage.data.row_set import RowSet

Standing = Literal["in its data", "inherited", "not in its data", "unknown"]


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


def trace(
    row: bytes, updates: Sequence[SignedUpdate], data: Sequence[RowSet] = (), folders: Sequence[Path] = ()
) -> Trace:
    """Where a row stands with every update.

    Args:
        row: Its digest.
        updates: Verified changesets; those that made each other's parents, as far as there are.
        data: Data sets at hand, for updates without an index beside their changeset.
        folders: Where else indexes may lie; every changeset's own folder is looked into.

    Raises:
        IntegrityError: an index that is not the one signed.
    """
    at_hand = {rows.root.hex(): rows for rows in data}
    places = list(dict.fromkeys([*(update.path.parent for update in updates), *folders]))
    own = {update.digest: _own(row, update, at_hand, places) for update in updates}
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


def _own(
    row: bytes, update: SignedUpdate, at_hand: Mapping[str, RowSet], places: Sequence[Path]
) -> tuple[bool | None, str]:
    """Whether an update's own data held the row, and how that is known."""
    declared = training_input(update.changeset)
    if declared is None:
        return None, "it declares no training data"
    if declared.rows_set_root is None:
        return None, "its changeset has no root over sorted rows"
    rows = at_hand.get(declared.rows_set_root) or read_index(places, declared.rows_set_root)
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
