"""The identity of a checkpoint: a Merkle tree over its tensors and the SHA-256 of every file that shapes behaviour."""

from __future__ import annotations

from pydantic import Field

from weightgate.lineage.canonical import Frozen


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
    tensor_root: str = Field(description="RFC 6962 Merkle root over (name, dtype, shape, sha256(data)), ordered by name.")
    base: str | None = Field(default=None, description="For an adapter: root of the model it is applied to.")
    parameters: int = Field(ge=0, description="Number of elements over all tensors.")
    tensors: tuple[TensorDigest, ...]
    files: tuple[FileDigest, ...]
    tokenizer: str | None = Field(default=None, description="Digest over the tokenizer files.")
    chat_template: str | None = Field(default=None, description="SHA-256 of the chat template text, wherever it is kept.")
    config: str | None = Field(default=None, description="Digest of config.json without fields that do not change the model.")
    code: tuple[str, ...] = Field(default=(), description="Python files in the folder; never run.")
