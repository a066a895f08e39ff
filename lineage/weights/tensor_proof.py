"""Proof that one tensor belongs to a checkpoint, so that it can be checked without the others.

A proof is canonical JSON (RFC 8785): the tensor's entry in the Merkle tree and the audit path to its root (RFC 6962).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen, canonical
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.strict_json import parse, parse_config
from weightgate.lineage.weights import merkle
from weightgate.lineage.weights.checkpoint import INDEX
from weightgate.lineage.weights.fingerprint import Fingerprint, TensorDigest, tensor_entry
from weightgate.lineage.weights.folder import list_files, read_document
from weightgate.lineage.weights.safetensors_file import TensorInfo, blocks, read_header

MOST_BYTES = 16_384
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_REMEDY = "do not use it; take tensor and proof from the model that was signed"


class TensorProof(Frozen):
    """One tensor and its place in the tree."""

    version: Literal["1"] = "1"
    tensor: TensorDigest
    index: int = Field(ge=0, strict=True, description="Place among the tensors, ordered by name.")
    size: int = Field(ge=1, strict=True, description="Number of tensors.")
    path: tuple[Hash, ...] = Field(max_length=64, description="Hashes of the siblings, from the leaf up.")


def prove(found: Fingerprint, name: str) -> TensorProof:
    """The proof for one tensor of a fingerprint.

    Raises:
        InputError: no tensor of that name.
    """
    names = [tensor.name for tensor in found.tensors]
    if name not in names:
        raise InputError(f"no tensor {name!r}", remedy="weightgate diff --json lists the names of changed tensors")
    at = names.index(name)
    path = merkle.inclusion_proof([tensor_entry(tensor) for tensor in found.tensors], at)
    return TensorProof(
        tensor=found.tensors[at], index=at, size=len(names), path=tuple(sibling.hex() for sibling in path)
    )


def proof_bytes(proof: TensorProof) -> bytes:
    """The file form."""
    return canonical(proof) + b"\n"


def read_proof(path: Path) -> TensorProof:
    """A proof from its file.

    Raises:
        InputError: unreadable, too large, or no proof in its canonical form.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        proof = TensorProof.model_validate(parse(data, str(path))) if len(data) <= MOST_BYTES else None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    except ValidationError as error:
        raise InputError(f"{path} is no proof of a tensor", remedy="weightgate prove writes one") from error
    if proof is None or proof_bytes(proof) != data:
        raise InputError(f"{path} is no proof in its canonical form", remedy="weightgate prove writes one")
    return proof


def check_proof(proof: TensorProof, tensor_root: str) -> None:
    """That the proof leads to a tensor root.

    Raises:
        IntegrityError: it does not.
    """
    path = [bytes.fromhex(sibling) for sibling in proof.path]
    entry = tensor_entry(proof.tensor)
    if not merkle.verify_inclusion(bytes.fromhex(tensor_root), entry, proof.index, proof.size, path):
        raise IntegrityError(f"tensor {proof.tensor.name!r} is not one of the signed model", remedy=_REMEDY)


def check_tensor(proof: TensorProof, model: Path) -> int:
    """That a model, of which only the file with this tensor has to be there, holds it; its bytes, which alone are read.

    Raises:
        InputError: the tensor's file is not there or cannot be read.
        IntegrityError: the tensor has another dtype, shape or content.
    """
    found = _find(model, proof.tensor.name)
    hasher = hashlib.sha256()
    for block in blocks(found):
        hasher.update(block)
    seen = TensorDigest(name=found.name, dtype=found.dtype, shape=found.shape, sha256=hasher.hexdigest())
    if seen != proof.tensor:
        raise IntegrityError(f"{found.file}: tensor {found.name!r} is not the one that was signed", remedy=_REMEDY)
    return found.nbytes


def _find(model: Path, name: str) -> TensorInfo:
    """Where the tensor lies; headers of other shards are read only where there is no index."""
    if not model.is_dir():
        files = [model]
    else:
        names = list_files(model)
        shards = [file for file in names if file.endswith(".safetensors") and "/" not in file]
        if INDEX in names:
            shard = (parse_config(read_document(model / INDEX), INDEX).get("weight_map") or {}).get(name)
            shards = [shard] if shard in shards else []
        files = [model / shard for shard in shards]
    for file in files:
        for tensor in read_header(file):
            if tensor.name == name:
                return tensor
    raise InputError(f"{model}: the file with tensor {name!r} is not there", remedy="give the shard that holds it")
