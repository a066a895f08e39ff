"""The delta file: a fixed prefix, a canonical JSON header, the blocks one after the other, and a digest of it all.

| bytes | what |
|---|---|
| 8 | ``89 57 47 44 0d 0a 1a 0a``: no text file starts so, and a transfer that changes line ends breaks it |
| 4 | version, 1 (integers are little-endian) |
| 8 | length of the header |
| … | the header (`weightgate.lineage.weights.delta.header`), RFC 8785 JSON |
| … | the blocks, as long as the header says, in its order |
| 32 | SHA-256 of every byte before |
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.delta.header import MAX_HEADER_BYTES, Header, Piece, encode, read_header

MAGIC = b"\x89WGD\r\n\x1a\n"
VERSION = 1
_PREFIX_BYTES = len(MAGIC) + 4 + 8
_DIGEST_BYTES = 32
_CHUNK = 1 << 20
_AGAIN = "take the delta from where it was made again"


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A delta whose digest has been checked."""

    path: Path
    sha256: str
    """Of every byte before the digest at its end."""
    header: Header
    start: int
    """Offset of the first block."""

    def payloads(self, skip: int, piece: Piece) -> Iterator[bytes]:
        """The blocks of ``piece``, which lie ``skip`` bytes after the first block of all.

        Raises:
            InputError: the file cannot be read.
            IntegrityError: it has become shorter.
        """
        with _opened(self.path) as file:
            file.seek(self.start + skip)
            for length in piece.lengths:
                data = file.read(length)
                if len(data) != length:
                    raise IntegrityError(f"{self.path}: ends within a block", remedy=_AGAIN)
                yield data


def open_delta(path: Path) -> DeltaFile:
    """Check the digest of a delta, then read its header.

    Raises:
        InputError: not a delta, of a later version, or with a header that is not as documented.
        IntegrityError: truncated or changed since it was written.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(_PREFIX_BYTES)
        if not prefix.startswith(MAGIC):
            raise InputError(f"{path}: not a weightgate delta", remedy="give a file that `weightgate pack` wrote")
        if size < _PREFIX_BYTES + _DIGEST_BYTES:
            raise IntegrityError(f"{path}: truncated", remedy=_AGAIN)
        digest = _check_digest(file, path, size)
        version = int.from_bytes(prefix[8:12], "little")
        if version != VERSION:
            raise InputError(f"{path}: a delta of version {version}", remedy="use the weightgate that made it")
        length = int.from_bytes(prefix[12:], "little")
        if length > min(MAX_HEADER_BYTES, size - _PREFIX_BYTES - _DIGEST_BYTES):
            raise InputError(f"{path}: a header of {length} bytes does not fit", remedy=_AGAIN)
        file.seek(_PREFIX_BYTES)
        header = read_header(file.read(length), f"{path}: delta header")
    start = _PREFIX_BYTES + length
    end = start + sum(sum(piece.lengths) for piece in header.pieces)
    if end + _DIGEST_BYTES != size:
        raise InputError(f"{path}: its blocks end at byte {end}, not before its digest", remedy=_AGAIN)
    return DeltaFile(path, digest, header, start)


def write_delta(out: Path, header: Header, blocks: IO[bytes]) -> str:
    """Write ``header`` and all of ``blocks`` to ``out``, which appears complete or not at all; its digest.

    Raises:
        InputError: the header is too large, or the file cannot be written.
    """
    encoded = encode(header)
    if len(encoded) > MAX_HEADER_BYTES:
        raise InputError(f"{out}: a header of {len(encoded)} bytes", remedy="the child has too many files or tensors")
    hasher = hashlib.sha256()
    with finished(out) as file:
        prefix = MAGIC + VERSION.to_bytes(4, "little") + len(encoded).to_bytes(8, "little")
        for data in (prefix, encoded):
            hasher.update(data)
            file.write(data)
        blocks.seek(0)
        while data := blocks.read(_CHUNK):
            hasher.update(data)
            file.write(data)
        file.write(hasher.digest())
    return hasher.hexdigest()


@contextmanager
def finished(out: Path, scratch: Path | None = None) -> Iterator[IO[bytes]]:
    """A file that takes the name ``out`` once it is complete and on the disk, and vanishes on any error.

    Args:
        out: its name.
        scratch: folder on the same disk where it lies until then; that of ``out`` if None.

    Raises:
        InputError: it cannot be written.
    """
    partial = (scratch or out.parent) / f".{out.name[:100]}.{secrets.token_hex(8)}.partial"
    try:
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(out)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(out.parent)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error


def _check_digest(file: IO[bytes], path: Path, size: int) -> str:
    hasher, left = hashlib.sha256(), size - _DIGEST_BYTES
    file.seek(0)
    while left:
        data = file.read(min(_CHUNK, left))
        if not data:
            break
        hasher.update(data)
        left -= len(data)
    if file.read(_DIGEST_BYTES) != hasher.digest():
        raise IntegrityError(f"{path}: truncated, or changed since it was written", remedy=_AGAIN)
    return hasher.hexdigest()
