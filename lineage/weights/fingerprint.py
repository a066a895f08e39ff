"""The identity of a checkpoint: a Merkle tree over its tensors and the SHA-256 of every file that shapes behaviour."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from weightgate.lineage.canonical import Frozen, canonical, digest, sha256_hex
from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.lineage.weights import merkle
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.elements import count_not_finite
from weightgate.lineage.weights.folder import read_document
from weightgate.lineage.weights.safetensors_file import TensorInfo, blocks
from weightgate.lineage.weights.threads import in_order
from weightgate.lineage.weights.tokenizer import tokenizer_digest

Second = Callable[[], Any]
"""Makes a hasher that runs beside SHA-256."""


class TensorDigest(Frozen):
    """One tensor: what it is called, how it is read, and the SHA-256 of its little-endian bytes."""

    name: str
    dtype: str = Field(description="safetensors dtype, for example 'BF16'.")
    shape: tuple[int, ...]
    sha256: str


class FileDigest(Frozen):
    """One file of the checkpoint folder, by its POSIX path relative to the folder."""

    name: str
    size: int = Field(ge=0)
    sha256: str


class Fingerprint(Frozen):
    """Equality of weights, tokenizer, chat template, configuration and code are separate facts."""

    root: str = Field(description="Identity of the whole: SHA-256 over tensor_root, base and the file digests.")
    tensor_root: str = Field(
        description="RFC 6962 Merkle root over (name, dtype, shape, sha256(data)), ordered by name."
    )
    tensor_root_blake3: str | None = Field(
        default=None, description="The same over (name, dtype, shape, blake3(data)), where it was asked for."
    )
    base: str | None = Field(default=None, description="For an adapter: root of the model it is applied to.")
    parameters: int = Field(ge=0, description="Number of elements over all tensors.")
    tensors: tuple[TensorDigest, ...]
    files: tuple[FileDigest, ...]
    tokenizer: str | None = Field(default=None, description="Digest over the tokenizer files.")
    chat_template: str | None = Field(
        default=None, description="SHA-256 of the chat template text, wherever it is kept."
    )
    config: str | None = Field(
        default=None, description="Digest of config.json without fields that do not change the model."
    )
    code: tuple[str, ...] = Field(default=(), description="Python files in the folder; never run.")


INERT_CONFIG = frozenset(
    {
        "_attn_implementation_autoset",
        "_commit_hash",
        "_name_or_path",
        "dtype",
        "name_or_path",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Fields of config.json that leave the model's function alone: where it came from, and how it is loaded and run."""


def fingerprint(
    checkpoint: Checkpoint,
    *,
    base_root: str | None = None,
    finite: bool = True,
    blake3: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Fingerprint:
    """Read every byte of a checkpoint once and identify it.

    Memory does not grow with the checkpoint. Tensors are hashed side by side on the machine's cores; the result depends
    neither on how many there are nor on how the tensors are spread over files.

    Args:
        checkpoint: what to identify.
        base_root: for an adapter, ``root`` of the model it is applied to.
        finite: refuse NaN and infinite elements; a copy that only has to be exact can do without.
        blake3: take a second tensor root, over BLAKE3 digests; never instead of the first.
        progress: called with the number of bytes read since the last call.

    Raises:
        MissingExtraError: BLAKE3 was asked for and is not installed.
        InputError: a file that cannot be read, or a tensor with NaN or infinite elements (named and counted): such
            weights cannot be audited, because every comparison with NaN is false.
    """
    hashed = _tensor_digests(checkpoint, finite, _blake3() if blake3 else None, progress)
    tensors = tuple(tensor for tensor, _ in hashed)
    files = tuple(_file_digest(checkpoint.path, name) for name in checkpoint.files)
    tensor_root = merkle.root(tensor_entry(tensor) for tensor in tensors).hex()
    whole = {
        "base": base_root,
        "files": [{"name": file.name, "sha256": file.sha256} for file in files],
        "tensor_root": tensor_root,
    }
    return Fingerprint(
        root=digest(whole),
        tensor_root=tensor_root,
        tensor_root_blake3=merkle.root(_blake3_entry(*pair) for pair in hashed).hex() if blake3 else None,
        base=base_root,
        parameters=checkpoint.parameters,
        tensors=tensors,
        files=files,
        tokenizer=tokenizer_digest(checkpoint),
        chat_template=_template_digest(checkpoint),
        config=digest(without_inert(checkpoint.config)) if checkpoint.config else None,
        code=tuple(name for name in checkpoint.files if name.endswith(".py")),
    )


def tensor_entry(tensor: TensorDigest) -> bytes:
    """The entry of a tensor in the Merkle tree: the canonical JSON (RFC 8785) of its name, dtype, shape and digest."""
    return canonical(tensor)


def without_inert(config: object) -> object:
    """``config`` without the fields, at any depth, that do not change what the model computes."""
    if isinstance(config, dict):
        return {key: without_inert(value) for key, value in config.items() if key not in INERT_CONFIG}
    if isinstance(config, list):
        return [without_inert(value) for value in config]
    return config


def _tensor_digests(
    checkpoint: Checkpoint, finite: bool, second: Second | None, progress: Callable[[int], None] | None
) -> tuple[tuple[TensorDigest, str], ...]:
    tensors = checkpoint.tensors.values()
    digests = []
    for tensor, found in zip(
        tensors, in_order(partial(_tensor_digest, finite=finite, second=second), tensors), strict=True
    ):
        digests.append(found)
        if progress is not None:
            progress(tensor.nbytes)
    return tuple(digests)


def _tensor_digest(tensor: TensorInfo, *, finite: bool, second: Second | None) -> tuple[TensorDigest, str]:
    hasher, not_finite = hashlib.sha256(), 0
    other = second() if second else None
    for block in blocks(tensor):
        hasher.update(block)
        if other is not None:
            other.update(block)
        if finite:
            not_finite += count_not_finite(block, tensor.dtype)
    if not_finite:
        raise InputError(
            f"{tensor.file}: tensor {tensor.name!r} has {not_finite} elements that are NaN or infinite",
            remedy="weights with NaN cannot be audited: train again from the last checkpoint without them",
        )
    found = TensorDigest(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, sha256=hasher.hexdigest())
    return found, other.hexdigest() if other is not None else ""


def _blake3() -> Second:
    try:
        from blake3 import blake3
    except ImportError as error:
        raise MissingExtraError("BLAKE3", "blake3") from error
    return blake3


def _blake3_entry(tensor: TensorDigest, digest: str) -> bytes:
    return canonical({"blake3": digest, "dtype": tensor.dtype, "name": tensor.name, "shape": list(tensor.shape)})


def _file_digest(folder: Path, name: str) -> FileDigest:
    data = read_document(folder / name)
    return FileDigest(name=name, size=len(data), sha256=sha256_hex(data))


def _template_digest(checkpoint: Checkpoint) -> str | None:
    if checkpoint.chat_template is not None and len(checkpoint.templates) == 1:
        return sha256_hex(checkpoint.chat_template.encode())
    return digest(dict(checkpoint.templates)) if checkpoint.templates else None
