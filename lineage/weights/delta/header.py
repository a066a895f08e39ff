"""What a delta says of itself: the two checkpoints, and how each file of the child is put together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from weightgate.lineage.canonical import Frozen, canonical
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.lineage.weights.checkpoint import CheckpointKind
from weightgate.lineage.weights.delta.names import check_names
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS, MAX_DIMENSIONS, MAX_NAME

MAX_HEADER_BYTES = 64_000_000
BLOCK_BYTES = 1 << 21
"""Bytes of the child in one block of a stream; the last block of a piece is shorter. A multiple of every element."""

CodecName = Literal["same", "ectx", "xor", "raw"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class Side(Frozen):
    """A checkpoint, by the digests of its fingerprint."""

    root: Digest
    tensor_root: Digest


class Form(Frozen):
    """Which tensor a piece is."""

    name: str = Field(max_length=MAX_NAME)
    dtype: str
    shape: Annotated[tuple[Count, ...], Field(max_length=MAX_DIMENSIONS)]


class Piece(Frozen):
    """A run of bytes of a file: a tensor, the header of a safetensors file, or all of a document."""

    tensor: Form | None = None
    nbytes: Count
    sha256: Digest
    codec: CodecName
    base: str | None = Field(
        default=None,
        max_length=4096,
        description="What it is decoded with: a tensor of the parent for a tensor, else a file of the parent's folder.",
    )
    lengths: tuple[Count, ...] = Field(
        default=(), description="Bytes of each block in the delta; 0: the block is the base's. None for 'same'."
    )

    @property
    def dtype(self) -> str:
        """How its bytes group into elements."""
        return self.tensor.dtype if self.tensor else "U8"

    @property
    def sizes(self) -> Iterator[int]:
        """Bytes of each block once decoded."""
        return (min(BLOCK_BYTES, self.nbytes - start) for start in range(0, self.nbytes, BLOCK_BYTES))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tensor:
            bits = DTYPE_BITS.get(self.tensor.dtype)
            if bits is None or math.prod(self.tensor.shape) * bits != self.nbytes * 8:
                raise ValueError("dtype and shape do not make its bytes")
        blocks = 0 if self.codec == "same" else -(-self.nbytes // BLOCK_BYTES)
        if len(self.lengths) != blocks:
            raise ValueError(f"{len(self.lengths)} blocks instead of {blocks}")
        if any(length > 2 * BLOCK_BYTES for length in self.lengths):
            raise ValueError(f"a block of over {2 * BLOCK_BYTES} bytes")
        if (self.base is None) != (self.codec == "raw"):
            raise ValueError("'raw' needs no base, every other codec one")
        if self.base is None and 0 in self.lengths:
            raise ValueError("a block taken from a base that is not named")
        if self.codec == "ectx" and self.dtype not in {"BF16", "F16"}:
            raise ValueError("'ectx' is for 16-bit floats")
        return self


class StoredFile(Frozen):
    """A file of the child: its pieces one after the other."""

    name: str = Field(description="POSIX path relative to the child's folder.")
    pieces: Annotated[tuple[Piece, ...], Field(min_length=1)]

    @property
    def nbytes(self) -> int:
        """Its size."""
        return sum(piece.nbytes for piece in self.pieces)


class Header(Frozen):
    """The header of a delta: the streams lie after it in the order of files, pieces and blocks."""

    parent: Side
    child: Side
    kind: CheckpointKind = Field(description="Model folder, adapter folder (applied to the parent) or single file.")
    files: Annotated[tuple[StoredFile, ...], Field(min_length=1)]

    @property
    def nbytes(self) -> int:
        """Bytes of the child."""
        return sum(file.nbytes for file in self.files)

    @property
    def pieces(self) -> Iterator[Piece]:
        """Every piece, in order."""
        return (piece for file in self.files for piece in file.pieces)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_names([file.name for file in self.files])
        if self.kind == "file" and (len(self.files) != 1 or "/" in self.files[0].name):
            raise ValueError("a single file of several files")
        return self


def encode(header: Header) -> bytes:
    """The one form of a header: RFC 8785 JSON without the fields that have their default."""
    return canonical(header.model_dump(mode="json", exclude_defaults=True))


def read_header(data: bytes, what: str) -> Header:
    """The header in its canonical bytes.

    Raises:
        InputError: not canonical JSON, or not a header as described here; the message starts with ``what``.
    """
    parse(data, what)
    try:
        header = Header.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise InputError(f"{what}: {where}: {first['msg'][:300]}", remedy="make the delta again") from error
    if encode(header) != data:
        raise InputError(f"{what} is not in canonical form", remedy="make the delta again")
    return header
