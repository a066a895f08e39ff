"""Checks a model against its OpenSSF Model Signing bundle, more strictly than the specification asks.

Only what the signature itself declares is left out. Duplicate names, paths that leave the model, links, an empty model
and certificates that are expired or for another purpose or person are all refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import IN_TOTO, pae
from weightgate.lineage.signing.oms import BESIDE, declare
from weightgate.lineage.signing.oms_bundle import Bundle, read_bundle, read_file
from weightgate.lineage.signing.oms_certificates import parse_chain, verify_chain
from weightgate.lineage.signing.oms_files import Listing, hash_files, hash_shards, list_model
from weightgate.lineage.signing.oms_keys import ModelVerifyingKey
from weightgate.lineage.signing.oms_statement import Manifest, is_first_version, read_statement

_REMEDY = "do not trust this model; get it again from its publisher"


@dataclass(frozen=True, slots=True)
class Believed:
    """Whose model signatures count: keys, or certificates under trusted roots."""

    keys: tuple[ModelVerifyingKey, ...] = ()
    roots: tuple[x509.Certificate, ...] = ()
    identity: str | None = None
    """Subject alternative name that the signing certificate has to carry."""


@dataclass(frozen=True, slots=True)
class SignedModel:
    """A model whose every file is the one that was signed."""

    manifest: Manifest
    signer: str
    """Key or certificate, in words."""
    uncovered: tuple[str, ...]
    """What is there and not covered by the signature: declared by the signer, or left out by the caller."""


def verify_model(
    model: Path,
    signature: Path,
    believed: Believed,
    at: datetime,
    *,
    ignore_paths: Sequence[str] = (),
    ignore_unsigned_files: bool = False,
) -> SignedModel:
    """Verify a model folder, or a single file, against a bundle.

    Args:
        model: folder or file.
        signature: the bundle.
        believed: whose signature counts.
        at: now, with a time zone: certificates have to be valid.
        ignore_paths: unsigned files or folders to allow; what is signed is checked all the same.
        ignore_unsigned_files: allow any further file (OMS §8.5).

    Raises:
        InputError: something cannot be read.
        IntegrityError: the first thing that does not check out; the message names it.
    """
    if not model.exists():
        raise InputError(f"{model}: no such file or folder", remedy="give a model on this machine")
    bundle = read_bundle(read_file(signature), str(signature))
    signer = _check_signature(bundle, believed, at)
    manifest = read_statement(bundle.payload)
    if not model.is_dir():
        _check_single(model, manifest)
        return SignedModel(manifest, signer, ())
    home = model.resolve()
    allowed = [declare(home, path) for path in ignore_paths]
    listing = _list(model, home, manifest, allowed, signature)
    unsigned = _check_files(model, home, manifest, listing, ignore_unsigned_files=ignore_unsigned_files)
    beside = set(BESIDE) & set(manifest.ignore_paths)
    return SignedModel(manifest, signer, tuple(sorted({*listing.ignored, *unsigned} - beside)))


def _check_signature(bundle: Bundle, believed: Believed, at: datetime) -> str:
    """Who signed, in words, once the signature was checked."""
    if bundle.payload_type != IN_TOTO:
        raise IntegrityError(f"payload type {bundle.payload_type!r} is not {IN_TOTO}", remedy=_REMEDY)
    if bundle.certificates:
        return _check_certificate(bundle, believed, at)
    if believed.roots:
        raise IntegrityError("signed with a key, not with a certificate", remedy="give --public-key")
    if not believed.keys:
        raise InputError(
            "no ECDSA key to check the model's signature with", remedy="give the signer's with --public-key"
        )
    key = _named_key(bundle, believed.keys)
    _check_bytes(bundle, key)
    return f"{key.kind} key {key.hint}"


def _check_certificate(bundle: Bundle, believed: Believed, at: datetime) -> str:
    if not believed.roots:
        raise InputError(
            "signed with a certificate: a public key does not check it", remedy="give its root: --certificate-chain"
        )
    signer = verify_chain(parse_chain(bundle.certificates), believed.roots, at, believed.identity)
    _check_bytes(bundle, signer.key)
    held = ", ".join(signer.identities) or signer.subject
    return f"certificate of {held}" if believed.identity else f"certificate of {held} (no --identity was asked for)"


def _check_bytes(bundle: Bundle, key: ModelVerifyingKey) -> None:
    try:
        key.verify(bundle.signature, pae(bundle.payload_type, bundle.payload))
    except IntegrityError:
        if not is_first_version(bundle.payload):
            raise
        # model_signing 0.2.0 signed the Python representation of the payload, with SHA-256 on every curve; nothing
        # newer may.
        old = f"DSSEV1 {len(IN_TOTO)} {IN_TOTO} {len(bundle.payload)} {bundle.payload!r}"
        key.verify(bundle.signature, old.encode(), hashes.SHA256())


def _named_key(bundle: Bundle, keys: Sequence[ModelVerifyingKey]) -> ModelVerifyingKey:
    named = bundle.hint
    if named is None and bundle.raw_key is not None:
        named = _raw_hint(bundle.raw_key)
    for key in keys:
        if key.hint == named:
            return key
    raise IntegrityError(
        f"signed by key {named}, not by {', '.join(key.hint for key in keys)}", remedy="give the signer's public key"
    )


def _raw_hint(raw: bytes) -> str:
    try:
        load = serialization.load_pem_public_key if raw.startswith(b"-----") else serialization.load_der_public_key
        return ModelVerifyingKey.of(load(raw), "the key in the bundle").hint
    except (ValueError, UnsupportedAlgorithm, InputError) as error:
        raise IntegrityError("the key in the signature is malformed", remedy=_REMEDY) from error


def _check_single(model: Path, manifest: Manifest) -> None:
    """A model that is one file: named as such, or ``.`` by the reference signer."""
    if model.is_symlink():
        raise IntegrityError(f"{model}: a symbolic link, which no signature covers", remedy=_REMEDY)
    if manifest.shard_size is not None or len(manifest.resources) != 1:
        raise IntegrityError(f"{model}: one file, but the signature is of a folder", remedy="give the folder")
    (resource,) = manifest.resources
    if resource.name not in (".", model.name):
        raise IntegrityError(f"{model}: the file that was signed is called {resource.name}", remedy=_REMEDY)
    (found,) = hash_files(model.parent, [model.name], manifest.hash_type)
    if found.digest != resource.digest:
        raise IntegrityError(f"{model}: not the content that was signed", remedy=_REMEDY)


def _list(model: Path, home: Path, manifest: Manifest, allowed: Sequence[str], signature: Path) -> Listing:
    signed = {resource.name for resource in manifest.resources}
    ignored = {*manifest.ignore_paths, *(path for path in allowed if not _holds(path, signed))}
    place = signature.parent.resolve() / signature.name
    if place.is_relative_to(home):
        ignored.add(place.relative_to(home).as_posix())
    listing = list_model(home, sorted(ignored))
    for name in set(BESIDE).intersection(listing.ignored):
        if (home / name).is_symlink() or not (home / name).is_file():
            raise IntegrityError(f"{model / name}: not a regular file", remedy=_REMEDY)
    for name, fault in listing.odd:
        raise IntegrityError(f"{model / name}: {fault}", remedy=_REMEDY)
    return listing


def _holds(path: str, signed: set[str]) -> bool:
    """Whether a signed file is at ``path`` or under it: it is checked whatever the caller wants to ignore."""
    return any(name == path or name.startswith(f"{path}/") for name in signed)


def _check_files(
    model: Path, home: Path, manifest: Manifest, listing: Listing, *, ignore_unsigned_files: bool
) -> tuple[str, ...]:
    """Compare names, then contents; the names that no signature covers come back."""
    signed = {resource.name: resource.digest for resource in manifest.resources}
    if manifest.shard_size is None:
        covered, names = set(signed), set(listing.files)
    else:
        covered = {_shard_file(name) for name in signed}
        names = {name for name in listing.files if name in covered or (home / name).stat().st_size}
    missing, extra = sorted(covered - names), sorted(names - covered)
    if missing:
        renamed = f"; {extra[0]} is there instead and not signed" if extra else ""
        raise IntegrityError(f"{model / missing[0]}: signed, but not there{renamed}", remedy=_REMEDY)
    if extra and not ignore_unsigned_files:
        raise IntegrityError(
            f"{model / extra[0]}: not covered by the signature",
            remedy="delete it, or leave it out knowingly with --ignore-paths",
        )
    _check_digests(model, home, manifest, sorted(covered), signed)
    return tuple(sorted(set(listing.files) - covered))


def _check_digests(
    model: Path, home: Path, manifest: Manifest, names: Sequence[str], signed: Mapping[str, str]
) -> None:
    if manifest.shard_size is None:
        found = {entry.name: entry.digest for entry in hash_files(home, names, manifest.hash_type)}
    else:
        parts = sum(-(-(home / name).stat().st_size // manifest.shard_size) for name in names)
        if parts != len(signed):
            raise IntegrityError(f"{model}: its files have other sizes than were signed", remedy=_REMEDY)
        shards = hash_shards(home, names, manifest.hash_type, manifest.shard_size)
        found = {entry.name: entry.digest for entry in shards}
    for name in sorted({*found, *signed}):
        if found.get(name) != signed.get(name):
            raise IntegrityError(f"{model / name}: not the content that was signed", remedy=_REMEDY)


def _shard_file(name: str) -> str:
    """The file of a byte range ``FILE:START:END``; the file's own name may hold colons."""
    parts = name.rsplit(":", 2)
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        raise IntegrityError(f"the signature lists {name!r}, which is no byte range of a file", remedy=_REMEDY)
    return parts[0]
