"""Writing a delta: what turns the parent into the child, bit by bit."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.choice import CODECS, choose
from weightgate.lineage.weights.delta.container import write_delta
from weightgate.lineage.weights.delta.header import BLOCK_BYTES, CodecName, Form, Header, Piece, Side, StoredFile
from weightgate.lineage.weights.delta.layout import Region, home, region_of_file, regions, stored_files
from weightgate.lineage.weights.delta.names import check_names
from weightgate.lineage.weights.delta.pipeline import ahead
from weightgate.lineage.weights.fingerprint import Fingerprint, fingerprint

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """A delta that was written."""

    sha256: str
    """Digest of the delta, as its last 32 bytes hold it."""
    header: Header
    left_out: tuple[str, ...]
    """Files of the child that the delta does not hold: pickles, and weights that are not part of the model."""

    @property
    def codecs(self) -> Mapping[str, int]:
        """Tensors by codec."""
        return Counter(piece.codec for piece in self.header.pieces if piece.tensor)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one piece is to be written. ``sha256`` is None where the bytes have not been read yet."""

    region: Region
    codec: CodecName
    base: Region | None
    base_name: str | None
    sha256: str | None


def pack(parent: Path, child: Path, out: Path, *, progress: Progress | None = None) -> Packed:
    """Write to ``out`` what `apply` needs, beside the parent, to rebuild the child byte for byte.

    Memory does not grow with the checkpoints. The child's files are kept as they are: shards, headers and documents.
    Pickles, stray weights and hidden folders are left out.

    Args:
        parent: model folder or safetensors file.
        child: the same, or an adapter folder.
        out: file to write; it appears complete or not at all.
        progress: called with the number of bytes read since the last call: the parent once, the child's weights twice.

    Raises:
        InputError: a checkpoint that cannot be read, a file name that other systems cannot hold, an ``out`` that exists
            or cannot be written, or files that change while they are read.
    """
    if out.exists():
        raise InputError(f"{out}: exists", remedy="choose another --out, or delete it")
    before, after = Checkpoint.open(parent), Checkpoint.open(child)
    names = stored_files(after)
    try:
        check_names(names)
    except ValueError as error:
        raise InputError(f"{child}: {error}", remedy="rename the file") from error
    mine = fingerprint(before, finite=False, progress=progress)
    yours = fingerprint(
        after, base_root=mine.root if after.kind == "adapter" else None, finite=False, progress=progress
    )
    planner = _Planner(before, mine, yours)
    plans = {name: [planner.plan(region, name) for region in regions(after, name)] for name in names}
    try:
        with tempfile.TemporaryFile(dir=out.parent) as blocks:
            pieces = _encode([plan for file in plans.values() for plan in file], blocks, progress)
            header = Header(
                parent=Side(root=mine.root, tensor_root=mine.tensor_root),
                child=Side(root=yours.root, tensor_root=yours.tensor_root),
                kind=after.kind,
                files=tuple(
                    StoredFile(name=name, pieces=tuple(next(pieces) for _ in file)) for name, file in plans.items()
                ),
            )
            digest = write_delta(out, header, blocks)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
    return Packed(digest, header, (*after.pickles, *after.unread))


class _Planner:
    """Finds for each region of the child what the parent has of it."""

    def __init__(self, before: Checkpoint, mine: Fingerprint, yours: Fingerprint) -> None:
        self._before = before
        self._documents = frozenset(stored_files(before))
        self._digests = {tensor.name: tensor.sha256 for tensor in yours.tensors}
        self._same = {
            (tensor.sha256, before.tensors[tensor.name].nbytes): tensor.name for tensor in reversed(mine.tensors)
        }

    def plan(self, region: Region, name: str) -> Plan:
        """How to write a region of the child's file ``name``."""
        if not region.is_tensor:
            return self._plan_document(region, name)
        tensor = region.where
        digest = self._digests[tensor.name]
        if same := self._same.get((digest, tensor.nbytes)):
            return Plan(region, "same", Region(self._before.tensors[same], is_tensor=True), same, digest)
        found = self._before.tensors.get(tensor.name)
        base = Region(found, is_tensor=True) if found else None
        codec = choose(region, base)
        if codec == "raw":
            return Plan(region, codec, None, None, digest)
        return Plan(region, codec, base, tensor.name, digest)

    def _plan_document(self, region: Region, name: str) -> Plan:
        if name in self._documents:
            base = region_of_file(home(self._before) / name)
            if base.where.nbytes == region.where.nbytes and (digest := region.sha256()) == base.sha256():
                return Plan(region, "same", base, name, digest)
        return Plan(region, "raw", None, None, None)


def _encode(plans: list[Plan], out: IO[bytes], progress: Progress | None) -> Iterator[Piece]:
    """Write the blocks of every plan to ``out``; the pieces in their order."""
    jobs = ((plan, start) for plan in plans if plan.codec != "same" for start in _starts(plan))
    encoded = ahead(_encode_block, jobs)
    for plan in plans:
        hasher, lengths = hashlib.sha256(), []
        if plan.codec != "same":
            for _ in _starts(plan):
                payload, block = next(encoded)
                hasher.update(block)
                out.write(payload)
                lengths.append(len(payload))
                if progress is not None:
                    progress(len(block))
            if plan.sha256 not in {None, hasher.hexdigest()}:
                raise InputError(f"{plan.region.where.file}: changed while it was read", remedy="pack it again")
        elif progress is not None:
            progress(plan.region.where.nbytes)
        yield _piece(plan, plan.sha256 or hasher.hexdigest(), tuple(lengths))


def _starts(plan: Plan) -> range:
    return range(0, plan.region.where.nbytes, BLOCK_BYTES)


def _encode_block(job: tuple[Plan, int]) -> tuple[bytes, bytes]:
    plan, start = job
    size = min(BLOCK_BYTES, plan.region.where.nbytes - start)
    block = plan.region.read(start, size)
    base = plan.base.read(start, size) if plan.base else b""
    payload = b"" if block == base else CODECS[plan.codec].encode(block, base, plan.region.where.dtype)
    return payload, block


def _piece(plan: Plan, digest: str, lengths: tuple[int, ...]) -> Piece:
    where = plan.region.where
    return Piece(
        tensor=Form(name=where.name, dtype=where.dtype, shape=where.shape) if plan.region.is_tensor else None,
        nbytes=where.nbytes,
        sha256=digest,
        codec=plan.codec,
        base=plan.base_name,
        lengths=lengths,
    )
