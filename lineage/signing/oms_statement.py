"""What an OMS v1.0 signature states about a model, and the strict reading of it.

Specification: OpenSSF Model Signing v1.0, https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.strict_json import parse

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
OMS_PREDICATE = "https://model_signing/signature/v1.0"
OMS_PREDICATE_V01 = "https://model_signing/Digests/v0.1"
"""What model_signing 0.2.0 wrote: one subject a file, no serialization. Read, never written (§5.1)."""

DIR_HASH = "dirHash1"
"""in-toto DigestSet key that binds the names of the files as well, which the OMS root digest does not."""

DIGEST_BYTES = {"sha256": 32, "blake2b": 64}
"""Hash algorithms of files that are read, with the size of their digests."""

_REMEDY = "do not trust this signature; have the model signed again"


@dataclass(frozen=True, slots=True)
class Resource:
    """One file of the model, or one byte range of it, and its digest in hexadecimal."""

    name: str
    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a model, as they are signed."""

    name: str
    """Label of the model; never trusted."""
    resources: tuple[Resource, ...]
    ignore_paths: tuple[str, ...]
    """Files, or folders with all they hold, that the signature leaves out; relative to the model."""
    digests: Mapping[str, str]
    """Digests of the whole beside the OMS root digest, by in-toto algorithm name."""
    hash_type: str = "sha256"
    shard_size: int | None = None
    """Bytes; None where files are hashed whole."""

    @property
    def root(self) -> str:
        """The OMS root digest (§6.5.1): SHA-256 over the digests in their order. It does not bind names."""
        return hashlib.sha256(b"".join(bytes.fromhex(resource.digest) for resource in self.resources)).hexdigest()


def dir_hash(resources: Iterable[Resource]) -> str:
    """in-toto's ``dirHash1``, in hexadecimal: SHA-256 of what ``sha256sum`` prints for the files, ordered by name."""
    lines = sorted((resource.name, resource.digest) for resource in resources)
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()


def write_statement(manifest: Manifest) -> bytes:
    """The statement to sign, in canonical JSON (RFC 8785)."""
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": manifest.name, "digest": {"sha256": manifest.root, **manifest.digests}}],
            "predicateType": OMS_PREDICATE,
            "predicate": {
                "resources": [
                    {"name": resource.name, "algorithm": resource.algorithm, "digest": resource.digest}
                    for resource in manifest.resources
                ],
                "serialization": {
                    "method": "files",
                    "hash_type": manifest.hash_type,
                    "allow_symlinks": False,
                    "ignore_paths": list(manifest.ignore_paths),
                },
            },
        }
    )


def read_statement(payload: bytes) -> Manifest:
    """Read a statement of any OMS version that is known.

    Raises:
        IntegrityError: it states nothing about a model, or something that could be read in two ways: names or ignored
            paths that are absolute, leave the model or come twice, no files at all, digests that do not add up.
    """
    try:
        document = parse(payload, "the signed statement")
        if document["_type"] != STATEMENT_TYPE:
            raise _refused(f"it is of type {document['_type']!r}, not {STATEMENT_TYPE}")
        kind = document["predicateType"]
        if kind == OMS_PREDICATE:
            return _read_current(document)
        if kind == OMS_PREDICATE_V01:
            return _read_first(document)
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(f"the signed statement is malformed: {fault}", remedy=_REMEDY) from error
    raise _refused(f"its predicate {kind!r} is not that of a model signature")


def is_first_version(payload: bytes) -> bool:
    """Whether a statement is of the form that model_signing 0.2.0 wrote."""
    try:
        return bool(parse(payload, "statement")["predicateType"] == OMS_PREDICATE_V01)
    except (InputError, KeyError, TypeError):
        return False


def _read_current(document: dict[str, Any]) -> Manifest:
    (subject,) = document["subject"]
    predicate = document["predicate"]
    serialization = predicate["serialization"]
    unknown = (set(document) - {"_type", "subject", "predicateType", "predicate"}) | (
        set(predicate) - {"resources", "serialization"}
    )
    if unknown:
        raise _refused(f"it holds {min(unknown)!r}, which OMS v1.0 does not define")
    digests = _digest_set(subject["digest"])
    hash_type, shard_size = _serialization(serialization)
    manifest = Manifest(
        name=_text(subject["name"]),
        resources=_resources(predicate["resources"], hash_type, shard_size),
        ignore_paths=_ignore_paths(serialization.get("ignore_paths", [])),
        digests={name: value for name, value in digests.items() if name != "sha256"},
        hash_type=hash_type,
        shard_size=shard_size,
    )
    if manifest.root != digests["sha256"]:
        raise _refused(f"its root digest is {digests['sha256']}, but its files hash to {manifest.root}")
    for resource in manifest.resources:
        if is_ignored(resource.name, manifest.ignore_paths):
            raise _refused(f"it both covers and ignores {resource.name!r}")
    stated = digests.get(DIR_HASH)
    if stated is not None and shard_size is None and hash_type == "sha256" and dir_hash(manifest.resources) != stated:
        raise _refused(f"its {DIR_HASH} is not that of its files")
    return manifest


def _read_first(document: dict[str, Any]) -> Manifest:
    entries = [
        {"name": subject["name"], "algorithm": "sha256", "digest": subject["digest"]["sha256"]}
        for subject in document["subject"]
    ]
    return Manifest(name="model", resources=_resources(entries, "sha256", None), ignore_paths=(), digests={})


def _serialization(serialization: dict[str, Any]) -> tuple[str, int | None]:
    """Hash algorithm and shard size."""
    unknown = set(serialization) - {"method", "hash_type", "shard_size", "allow_symlinks", "ignore_paths"}
    if unknown:
        raise _refused(f"its serialization holds {min(unknown)!r}, which OMS v1.0 does not define")
    method, hash_type, size = serialization["method"], serialization["hash_type"], serialization.get("shard_size")
    if hash_type not in DIGEST_BYTES:
        raise _refused(f"its files are hashed with {hash_type!r}; sha256 and blake2b are known")
    if not isinstance(serialization["allow_symlinks"], bool):
        raise _refused("its allow_symlinks is neither true nor false")
    if method == "files" and size is None:
        return hash_type, None
    # The reference signer passes the size through a protobuf Struct, which makes it 1000.0.
    if method == "shards" and isinstance(size, int | float) and not isinstance(size, bool) and size == int(size) > 0:
        return hash_type, int(size)
    raise _refused(f"its serialization {method!r} with shard size {size!r} is unknown")


def _resources(entries: Any, hash_type: str, shard_size: int | None) -> tuple[Resource, ...]:
    resources, names = [], set()
    algorithms = {hash_type, f"{hash_type}-sharded-{shard_size}"} if shard_size else {hash_type}
    for entry in entries:
        name, algorithm, digest = _text(entry["name"]), entry["algorithm"], entry["digest"]
        if name != "." and (fault := path_fault(name)):
            raise _refused(f"file {name!r}: {fault}")
        if name in names:
            raise _refused(f"file {name!r} is listed twice")
        if algorithm not in algorithms:
            raise _refused(f"file {name!r} is hashed with {algorithm!r}, the rest with {hash_type}")
        if not _is_hex(digest, DIGEST_BYTES[hash_type]):
            raise _refused(f"file {name!r} has no {hash_type} digest in lower-case hexadecimal")
        names.add(name)
        resources.append(Resource(name, hash_type, digest))
    if not resources:
        raise _refused("it covers no file at all")
    return tuple(resources)


def _ignore_paths(entries: Any) -> tuple[str, ...]:
    if not isinstance(entries, list):
        raise _refused("its ignore_paths is not a list")
    for entry in entries:
        if fault := path_fault(_text(entry)):
            raise _refused(f"ignored path {entry!r}: {fault}")
    return tuple(sorted(set(entries)))


def _digest_set(digests: Any) -> dict[str, str]:
    for name, value in digests.items():
        if not _is_hex(value):
            raise _refused(f"its digest {name!r} is not lower-case hexadecimal")
    return dict(digests)


def path_fault(path: str) -> str | None:
    """Why ``path`` is not one clear place within a model; None where it is.

    Paths are relative, with ``/`` between their parts, normal, and without control characters (OMS §6.1.2, §6.2.1).
    """
    if path.startswith("/") or re.match("[A-Za-z]:[/\\\\]", path):
        return "it is absolute"
    parts = path.split("/")
    if ".." in parts:
        return "it leaves the model"
    if "." in parts or "" in parts:
        return "it is not in normal form"
    if not path.isprintable() and any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in path):
        return "it holds control characters or bytes that are not UTF-8"
    return None


def is_ignored(name: str, ignore_paths: Iterable[str]) -> bool:
    """Whether a file, by its name relative to the model, is one of the paths or lies under one."""
    return any(name == path or name.startswith(f"{path}/") for path in ignore_paths)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _refused(f"it has {value!r} where a name is needed")
    return value


def _is_hex(value: Any, size: int | None = None) -> bool:
    if not isinstance(value, str) or not value or set(value) - set(string.hexdigits.lower()):
        return False
    return size is None or len(value) == 2 * size


def _refused(fault: str) -> IntegrityError:
    return IntegrityError(f"the signed statement is refused: {fault}", remedy=_REMEDY)
