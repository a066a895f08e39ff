"""Signed changesets where they lie: in run folders, in files, in a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.audit.run_folder import CHANGESET
from weightgate.lineage.changeset import Changeset, read_changeset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.signing.envelope import read_envelope, signer_among
from weightgate.lineage.signing.keys import VerifyingKey

MAX_CHANGESET = 1 << 28


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """A changeset whose signature was checked."""

    path: Path
    digest: str
    """SHA-256 of its payload."""
    changeset: Changeset


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
    changeset, digest = read_changeset(raw, signer_among(read_envelope(raw), keys, str(path)))
    return SignedUpdate(path, digest, changeset)


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


def updates_in_ledger(path: Path, keys: Sequence[VerifyingKey]) -> tuple[SignedUpdate, ...]:
    """Every changeset of a ledger, in the order of its log.

    The ledger says itself whom else it admitted; that it begins with one of ``keys`` is all it cannot say.

    Raises:
        InputError: there is no ledger.
        IntegrityError: it does not check out, or began with someone else.
    """
    ledger = Ledger.open(path)
    if ledger.genesis.author not in {key.key_id for key in keys}:
        raise IntegrityError(
            f"the ledger was begun by {ledger.genesis.author}, who is none of the keys",
            remedy="give that signer's --public-key, if you believe them",
        )
    return tuple(
        SignedUpdate(ledger.folder / logged.entry.path, logged.entry.id, logged.document)
        for logged in ledger.entries
        if isinstance(logged.document, Changeset)
    )
