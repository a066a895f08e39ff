"""Rebuilding a child from its parent and a delta: every byte as it was, or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.choice import CODECS
from weightgate.lineage.weights.delta.container import DeltaFile, finished, open_delta
from weightgate.lineage.weights.delta.header import BLOCK_BYTES, Header, Piece, StoredFile
from weightgate.lineage.weights.delta.layout import Region, home, region_of_file, stored_files
from weightgate.lineage.weights.delta.pipeline import ahead
from weightgate.lineage.weights.delta.staging import Staging
from weightgate.lineage.weights.fingerprint import Fingerprint, TensorDigest, fingerprint

Progress = Callable[[int], None]

_AGAIN = "take the delta from where it was made again"


@dataclass(frozen=True, slots=True)
class _Block:
    """What a worker needs to rebuild one block."""

    piece: Piece
    base: Region | None
    start: int
    size: int
    payload: bytes


def apply(parent: Path, delta: Path, out: Path, *, progress: Progress | None = None) -> Fingerprint:
    """Rebuild a child in ``out``, which appears complete or not at all; its fingerprint.

    The parent is hashed first, every piece after it is decoded, and the whole once more as it lies on the disk. An
    interrupted run leaves a hidden folder beside ``out``; the next one keeps the files in it that are complete.

    Args:
        parent: the checkpoint that the delta was made from.
        delta: what `pack` wrote.
        out: folder to make, or file for the delta of a single file.
        progress: called with the number of bytes read or rebuilt since the last call: the parent once, the child twice.

    Raises:
        InputError: something that cannot be read or written, an ``out`` that exists, no delta or one that is not as
            documented, or too little room on the disk.
        IntegrityError: another parent, a damaged delta, or a child that is not the one that was packed.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: exists", remedy="choose another --out")
    opened = open_delta(delta)
    header = opened.header
    before = Checkpoint.open(parent)
    mine = fingerprint(before, finite=False, progress=progress)
    if (mine.root, mine.tensor_root) != (header.parent.root, header.parent.tensor_root):
        raise IntegrityError(
            f"{parent}: its root is {mine.root}, but the delta was made from {header.parent.root}",
            remedy="give the parent that the delta was made from",
        )
    bases = _bases(before, header, delta)
    staging = Staging.beside(out, opened)
    skip = 0
    for file in header.files:
        if not staging.holds(file):
            _write(staging, opened, file, _blocks(opened, file, bases, skip), progress)
        elif progress is not None:
            progress(file.nbytes)
        skip += sum(sum(piece.lengths) for piece in file.pieces)
    found = _check(staging, header, mine.root, progress)
    staging.publish(out, header)
    return found


def _bases(before: Checkpoint, header: Header, delta: Path) -> dict[tuple[bool, str], Region]:
    """What the pieces are decoded with, by whether it is a tensor and by name."""
    documents = frozenset(stored_files(before))
    bases: dict[tuple[bool, str], Region] = {}
    for piece in header.pieces:
        if piece.base is None:
            continue
        key = (piece.tensor is not None, piece.base)
        if piece.tensor is not None and piece.base in before.tensors:
            bases[key] = Region(before.tensors[piece.base], is_tensor=True)
        elif piece.tensor is None and piece.base in documents:
            bases[key] = region_of_file(home(before) / piece.base)
        else:
            raise InputError(f"{delta}: needs {piece.base[:200]!r}, which the parent lacks", remedy=_AGAIN)
        if piece.codec == "same" and bases[key].where.nbytes != piece.nbytes:
            raise InputError(f"{delta}: {piece.base[:200]!r} of the parent has another size", remedy=_AGAIN)
    return bases


def _write(
    staging: Staging, delta: DeltaFile, file: StoredFile, blocks: Iterator[_Block], progress: Progress | None
) -> None:
    decoded = ahead(_decode, blocks)
    with finished(staging.place(file.name), scratch=staging.scratch) as target:
        for piece in file.pieces:
            hasher = hashlib.sha256()
            for _ in piece.sizes:
                block = next(decoded)
                hasher.update(block)
                target.write(block)
                if progress is not None:
                    progress(len(block))
            if hasher.hexdigest() != piece.sha256:
                raise IntegrityError(
                    f"{delta.path}: {_title(piece)} of {file.name!r} does not come out as it was packed", remedy=_AGAIN
                )


def _blocks(delta: DeltaFile, file: StoredFile, bases: dict[tuple[bool, str], Region], skip: int) -> Iterator[_Block]:
    for piece in file.pieces:
        base = bases[piece.tensor is not None, piece.base] if piece.base is not None else None
        payloads = delta.payloads(skip, piece)
        for index, size in enumerate(piece.sizes):
            payload = b"" if piece.codec == "same" else next(payloads)
            yield _Block(piece, base, index * BLOCK_BYTES, size, payload)
        skip += sum(piece.lengths)


def _decode(block: _Block) -> bytes:
    base = block.base.read(block.start, block.size) if block.base else b""
    if not block.payload:
        return base
    try:
        return CODECS[block.piece.codec].decode(block.payload, base, block.piece.dtype, block.size)
    except IntegrityError as error:
        raise IntegrityError(f"{_title(block.piece)} cannot be decoded: {error}", remedy=_AGAIN) from error


def _title(piece: Piece) -> str:
    return f"tensor {piece.tensor.name!r}" if piece.tensor else "a document or header"


def _check(staging: Staging, header: Header, parent_root: str, progress: Progress | None) -> Fingerprint:
    """The fingerprint of what lies on the disk, which must be what the header says."""
    staging.check_contents(header)
    try:
        rebuilt = Checkpoint.open(staging.checkpoint(header))
        base = parent_root if rebuilt.kind == "adapter" else None
        found = fingerprint(rebuilt, base_root=base, finite=False, progress=progress)
    except InputError as error:
        raise IntegrityError(f"the files rebuilt are no checkpoint: {error}", remedy=_AGAIN) from error
    if strangers := (*rebuilt.pickles, *rebuilt.unread):
        raise IntegrityError(f"the delta holds {strangers[0]!r}, which no delta should", remedy=_AGAIN)
    promised = {
        TensorDigest(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, sha256=piece.sha256)
        for piece in header.pieces
        if (tensor := piece.tensor)
    }
    if (rebuilt.kind, found.root, found.tensor_root) != (
        header.kind,
        header.child.root,
        header.child.tensor_root,
    ) or promised != set(found.tensors):
        raise IntegrityError(
            f"the child rebuilt has the root {found.root}, but {header.child.root} was packed", remedy=_AGAIN
        )
    return found
