"""Signing keys: Ed25519, or ECDSA on P-256 with SHA-256, kept as PKCS#8 PEM files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.errors import InputError, IntegrityError

KeyKind = Literal["ed25519", "ecdsa-p256"]

PASSPHRASE = "WEIGHTGATE_KEY_PASSPHRASE"  # noqa: S105 -- the name of the variable, not its value
"""Environment variable with the passphrase of the private key."""

MAX_KEY_BYTES = 100_000
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SEC 2 v2, §2.4.2
_KEYGEN = "make a key with `weightgate keygen FILE`"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """The public half of a key pair."""

    _key: Ed25519PublicKey | ec.EllipticCurvePublicKey

    @property
    def key_id(self) -> str:
        """``sha256:`` and the hexadecimal SHA-256 of the key as DER SubjectPublicKeyInfo (RFC 5280 §4.1)."""
        der = self._key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"sha256:{sha256_hex(der)}"

    @property
    def public_pem(self) -> bytes:
        """The key as PEM SubjectPublicKeyInfo."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature. Of the two ECDSA signatures that follow from each other, only the one with low s counts.

        Raises:
            IntegrityError: this key did not sign ``data``, or the signature is not in the one form that counts.
        """
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, data)
                return
            if _normal_form(signature) != signature:
                raise IntegrityError("the ECDSA signature is not in its normal form", remedy="sign again")
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError(
                f"the signature does not belong to this content and key {self.key_id}",
                remedy="the content was changed, or another key signed it",
            ) from error


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key. Its representation does not show it."""

    _key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @property
    def public(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self._key.public_key())

    @property
    def key_id(self) -> str:
        """Identifier of the public half."""
        return self.public.key_id

    @property
    def public_pem(self) -> bytes:
        """The public half as PEM SubjectPublicKeyInfo."""
        return self.public.public_pem

    def sign(self, data: bytes) -> bytes:
        """Sign ``data``: 64 bytes for Ed25519 (RFC 8032), DER with low s for ECDSA."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(data)
        return _normal_form(self._key.sign(data, ec.ECDSA(hashes.SHA256())))


def generate(path: Path, kind: KeyKind = "ed25519", passphrase: str | None = None) -> SigningKey:
    """Make a key: the private half at ``path`` (mode 0600), the public half beside it with the suffix ``.pub``.

    Args:
        path: file to make; its folder is made where it is missing.
        kind: signature scheme.
        passphrase: encrypts the private half; where it is None, WEIGHTGATE_KEY_PASSPHRASE of the environment counts.

    Raises:
        InputError: one of the two files exists or cannot be written. Nothing is ever overwritten.
    """
    public_path = path.with_suffix(".pub")
    if path == public_path:
        raise InputError(f"{path}: .pub is the suffix of the public half", remedy="name the private key otherwise")
    for file in (path, public_path):
        if file.exists() or file.is_symlink():
            raise InputError(f"{file}: exists and is not overwritten", remedy="choose another name or move the old key")
    secret = _passphrase(passphrase)
    key = Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption(),
    )
    signing = SigningKey(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _create(path, pem, 0o600)
        _create(public_path, signing.public_pem, 0o644)
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be made: {error.strerror}", remedy="choose a writable folder"
        ) from error
    return signing


def load_private(path: Path, passphrase: str | None = None) -> SigningKey:
    """Read a private key (PEM). WEIGHTGATE_KEY_PASSPHRASE is tried where ``passphrase`` is None.

    Raises:
        InputError: unreadable, not a PEM private key, the passphrase missing or wrong, or a scheme other than the two.
    """
    key = read_private(path, passphrase)
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return SigningKey(key)
    raise _unsupported(str(path), key)


def read_private(path: Path, passphrase: str | None = None) -> PrivateKeyTypes:
    """Read a private key (PEM) of any scheme.

    Raises:
        InputError: unreadable, not a PEM private key, or the passphrase missing or wrong.
    """
    data, secret = _read(path), _passphrase(passphrase)
    if b"PRIVATE KEY-----" not in data:
        kind = "a public key" if b"PUBLIC KEY-----" in data else "not a PEM file"
        raise InputError(f"{path}: {kind} where a private key is needed", remedy=_KEYGEN)
    encrypted = b"ENCRYPTED" in data
    if encrypted and secret is None:
        raise InputError(f"{path}: the key is encrypted and no passphrase was given", remedy=f"set {PASSPHRASE}")
    try:
        return serialization.load_pem_private_key(data, secret if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        fault = "wrong passphrase, or damaged" if encrypted else "not a PKCS#8 PEM private key"
        raise InputError(f"{path}: {fault}", remedy=f"check {PASSPHRASE}" if encrypted else _KEYGEN) from error


def load_public(path: Path) -> VerifyingKey:
    """Read a public key (PEM SubjectPublicKeyInfo).

    Raises:
        InputError: unreadable, not a PEM public key (a private key is refused too), or another scheme.
    """
    key = read_public(path)
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return VerifyingKey(key)
    raise _unsupported(str(path), key)


def read_public(path: Path) -> PublicKeyTypes:
    """Read a public key (PEM SubjectPublicKeyInfo) of any scheme.

    Raises:
        InputError: unreadable, or not a PEM public key (a private key is refused too).
    """
    pem = _read(path)
    if b"PRIVATE KEY-----" in pem:
        raise InputError(f"{path}: a private key where a public key is needed", remedy="give the .pub file beside it")
    try:
        return serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: not a PEM public key", remedy="give the .pub file that keygen wrote") from error


def default_key_path() -> Path:
    """Where the user's own key lies."""
    return Path(platformdirs.user_config_dir("weightgate"), "key.pem")


def default_key() -> SigningKey:
    """The user's own key, made on first use.

    Raises:
        InputError: it cannot be made or read.
    """
    path = default_key_path()
    if not path.exists():
        try:
            generate(path)
        except InputError:
            if not path.exists():  # else another process made it in the meantime
                raise
    return load_private(path)


def default_public_key() -> VerifyingKey:
    """The public half of the user's own key, made on first use; needs no passphrase.

    Raises:
        InputError: it cannot be made or read.
    """
    path = default_key_path().with_suffix(".pub")
    return load_public(path) if path.exists() else default_key().public


def _normal_form(signature: bytes) -> bytes:
    """The one DER encoding with low s; from (r, s) anyone can make (r, n - s), which verifies as well."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _P256_ORDER - s))


def _passphrase(given: str | None) -> bytes | None:
    text = os.environ.get(PASSPHRASE) if given is None else given
    return text.encode() if text else None


def _create(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy=_KEYGEN) from error


def _unsupported(what: str, key: object) -> InputError:
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    return InputError(
        f"{what}: {name} keys of this kind are not supported", remedy=f"Ed25519 or ECDSA P-256: {_KEYGEN}"
    )
