"""Signs a model: writes an OpenSSF Model Signing v1.0 bundle that any OMS client can check.

Specification: https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.envelope import IN_TOTO, pae
from weightgate.lineage.signing.oms_bundle import Bundle
from weightgate.lineage.signing.oms_certificates import signing_fault
from weightgate.lineage.signing.oms_files import hash_files, list_model
from weightgate.lineage.signing.oms_keys import ModelSigningKey, ModelVerifyingKey
from weightgate.lineage.signing.oms_statement import DIR_HASH, Manifest, dir_hash, path_fault, write_statement
from weightgate.lineage.signing.second import second_file
from weightgate.lineage.signing.timestamps import reply_file

SIGNATURE = "model.sig"
CLAIMS = "claims.jsonl"
BESIDE = (CLAIMS, "model.second.json", SIGNATURE, f"{SIGNATURE}.tsr")
"""What may lie beside the files of a model without being signed: the claims, signatures and a timestamp."""
GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What OMS leaves out by default (§6.2), at the top of the model only."""


def build_manifest(
    model: Path,
    *,
    ignore_paths: Sequence[str] = (),
    signature: Path | None = None,
    digests: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Hash every file of a model.

    Ignored, and declared as such, are: the signature and what may lie beside it, what the caller names, and of the
    paths of git those that are there. A path of git that turns up later is therefore found.

    Args:
        model: folder of the model.
        ignore_paths: files or folders to leave out, relative to the model or absolute within it.
        signature: file that will hold the signature, where it is not ``model.sig``.
        digests: further digests of the whole to state, by in-toto algorithm name.
        progress: told the number of bytes of each file that was hashed.

    Raises:
        InputError: no folder, nothing to sign, a link or another odd entry, or a path that is not within the model.
    """
    if not model.is_dir():
        raise InputError(f"{model}: not a folder", remedy="give the folder of the model; it may hold a single file")
    home = model.resolve()
    ignored = {*BESIDE, *(declare(home, path) for path in ignore_paths)}
    ignored.update(path for path in GIT_PATHS if os.path.lexists(home / path))
    if signature is not None and signature.resolve().is_relative_to(home):
        place = signature.resolve()
        beside = (place, second_file(place), reply_file(place))
        ignored.update(declare(home, str(path)) for path in beside)
    listing = list_model(home, sorted(ignored))
    if listing.odd:
        name, fault = listing.odd[0]
        raise InputError(f"{model / name}: {fault}", remedy="replace it by a plain file, or leave it out knowingly")
    if not listing.files:
        raise InputError(f"{model}: holds no file to sign", remedy="give the folder of a model")
    resources = hash_files(home, listing.files, progress=progress)
    return Manifest(
        name=home.name,
        resources=resources,
        ignore_paths=tuple(sorted(ignored)),
        digests={DIR_HASH: dir_hash(resources), **(digests or {})},
    )


def sign_manifest(manifest: Manifest, key: ModelSigningKey, certificates: Sequence[x509.Certificate] = ()) -> Bundle:
    """Sign; with ``certificates``, leaf first, they stand in the bundle instead of the name of the key."""
    payload = write_statement(manifest)
    return Bundle(
        payload=payload,
        payload_type=IN_TOTO,
        signature=key.sign(pae(IN_TOTO, payload)),
        hint=None if certificates else key.public.hint,
        certificates=tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates),
    )


def signing_chain(
    certificates: Sequence[x509.Certificate], key: ModelSigningKey, at: datetime
) -> tuple[x509.Certificate, ...]:
    """The certificates to put into a bundle: the leaf, then what leads to the root, without the root.

    Raises:
        InputError: the first one is not for this key, not valid now, or not for signing.
    """
    leaf = certificates[0]
    if ModelVerifyingKey.of(leaf.public_key(), "the first certificate").hint != key.public.hint:
        raise InputError("the first certificate is not for this key", remedy="give the certificate of the key first")
    if fault := signing_fault(leaf, at):
        raise InputError(fault, remedy="get a valid code-signing certificate")
    return (leaf, *(entry for entry in certificates[1:] if entry.issuer != entry.subject))


def write_signature(path: Path, bundle: Bundle, *, force: bool = False) -> None:
    """Write the bundle, whole or not at all.

    Raises:
        InputError: the file is there and ``force`` was not given, or it cannot be written.
    """
    if os.path.lexists(path) and not force:
        raise InputError(
            f"{path}: exists and is not overwritten", remedy="give --force to sign anew, --append to add claims only"
        )
    write_atomically(path, bundle.to_bytes() + b"\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file, so that it is whole whatever happens meanwhile.

    Raises:
        InputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror}", remedy="check the path") from error


def declare(home: Path, path: str) -> str:
    """``path`` as a signature states it: relative to the resolved model folder ``home``, with ``/``.

    Raises:
        InputError: it is not one clear place within the model, or a pattern.
    """
    name = path.rstrip("/")
    if Path(name).is_absolute():
        try:
            name = (Path(name).parent.resolve() / Path(name).name).relative_to(home).as_posix()
        except ValueError as error:
            raise InputError(f"{path}: not within {home}", remedy="name a path of the model") from error
    fault = "it is the model itself" if name in ("", ".") else path_fault(name)
    if fault or set("*?[") & set(name):
        raise InputError(
            f"ignored path {path!r}: {fault or 'patterns are not understood'}",
            remedy="name files or folders relative to the model",
        )
    return name
