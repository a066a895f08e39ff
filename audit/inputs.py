"""What was supplied beside the two checkpoints: data sets, and the changeset that made the parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.changeset import DataInput, read_changeset
from weightgate.lineage.data.dataset import Dataset, data_input, load_dataset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey
from weightgate.lineage.weights.update import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The data sets of an audit; None where none was given."""

    data: Dataset | None
    held_out: Dataset | None
    canaries: Dataset | None

    @property
    def described(self) -> tuple[DataInput, ...]:
        """Their digests, for the changeset."""
        return tuple(data_input(d) for d in (self.data, self.held_out, self.canaries) if d is not None)


def load_inputs(data: Sequence[Path | str], held_out: Sequence[Path | str], canaries: Sequence[Path | str]) -> Inputs:
    """Read and digest the data sets.

    Raises:
        InputError: as `load_dataset`.
        IntegrityError: as `load_dataset`.
    """
    return Inputs(
        data=load_dataset(data, "training") if data else None,
        held_out=load_dataset(held_out, "held-out") if held_out else None,
        canaries=load_dataset(canaries, "canaries") if canaries else None,
    )


def parent_link(path: Path, update: Update, signer: SigningKey) -> str:
    """Digest of the changeset that made the parent, after checking its signature and that it made this very model.

    Raises:
        InputError: the file cannot be read.
        IntegrityError: the signature is not the signer's own, or the changeset made another model.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the parent's changeset {path}: {error.strerror}", remedy="check the path"
        ) from error
    made, payload_digest = read_changeset(raw, signer.public)
    if made.child.root != update.parent_fingerprint.root:
        raise IntegrityError(
            f"{path} made model {made.child.root[:12]}…, the parent given is {update.parent_fingerprint.root[:12]}…",
            remedy="give the changeset whose child is this parent",
        )
    return payload_digest
