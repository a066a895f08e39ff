"""Keys that sign audits and approvals: kept as PKCS#8 PEM files, or elsewhere behind a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.external import ExternalSigner, is_external, load_external
from weightgate.lineage.signing.key_files import KEYGEN, create_file, find_passphrase, parse_public, read_private
from weightgate.lineage.signing.key_files import read_public as read_public_file
from weightgate.lineage.signing.schemes import (
    KeyKind,
    PrivateHalf,
    PublicHalf,
    check,
    kind_of,
    make,
    normal_form,
    sign_with,
    unsupported,
)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """The public half of a key pair."""

    _key: PublicHalf

    @classmethod
    def of(cls, key: object, what: str) -> VerifyingKey:
        """Take a key that was read elsewhere.

        Raises:
            InputError: another scheme; the message starts with ``what``.
        """
        if kind_of(key) is None:
            raise unsupported(what, key, KEYGEN)
        return cls(key)  # type: ignore[arg-type]  # kind_of knows only keys of this type

    @property
    def kind(self) -> KeyKind:
        """The signature scheme."""
        kind = kind_of(self._key)
        assert kind is not None  # noqa: S101 -- `of` and the types let no other in
        return kind

    @property
    def key_id(self) -> str:
        """``sha256:`` and the hexadecimal SHA-256 of the key as DER SubjectPublicKeyInfo (RFC 5280 §4.1)."""
        der = self._key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"sha256:{sha256_hex(der)}"

    @property
    def public_pem(self) -> bytes:
        """The key as PEM SubjectPublicKeyInfo."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def raw(self) -> PublicHalf:
        """The key as `cryptography` holds it."""
        return self._key

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature. Of the two ECDSA signatures that follow from each other, only the one with low s counts.

        Raises:
            IntegrityError: this key did not sign ``data``, or the signature is not in the one form that counts.
        """
        try:
            check(self._key, signature, data)
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError(
                f"the signature does not belong to this content and key {self.key_id}",
                remedy="the content was changed, or another key signed it",
            ) from error


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key, or the command that holds one. Its representation does not show it."""

    _key: PrivateHalf | ExternalSigner

    @property
    def public(self) -> VerifyingKey:
        """The public half."""
        if isinstance(self._key, ExternalSigner):
            return VerifyingKey.of(self._key.public_key, self._key.name)
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
        """Sign ``data``; the form is that of `schemes.sign_with`.

        Raises:
            InputError: the command that holds the key fails.
            IntegrityError: what the command answered is no signature of ``data`` by its key.
        """
        if not isinstance(self._key, ExternalSigner):
            return sign_with(self._key, data)
        public, signature = self.public, self._key.sign(data)
        try:
            signature = normal_form(signature) if public.kind == "ecdsa-p256" else signature
            public.verify(signature, data)
        except (IntegrityError, ValueError) as error:
            raise IntegrityError(
                f"{self._key.name}: its answer is no {public.kind} signature by {public.key_id}",
                remedy="check that it signs standard input unchanged, with the key whose public half is named",
            ) from error
        return signature


def generate(path: Path, kind: KeyKind = "ed25519", passphrase: str | None = None) -> SigningKey:
    """Make a key: the private half at ``path`` (mode 0600), the public half beside it with the suffix ``.pub``.

    Args:
        path: file to make; its folder is made where it is missing.
        kind: signature scheme.
        passphrase: encrypts the private half; where it is None, that of the environment counts.

    Raises:
        InputError: one of the two files exists or cannot be written (nothing is ever overwritten), or the scheme is
            not there.
    """
    public_path = path.with_suffix(".pub")
    if path == public_path:
        raise InputError(f"{path}: .pub is the suffix of the public half", remedy="name the private key otherwise")
    if is_external(path):
        raise InputError(
            f"{path}: {path.suffix} is the suffix of files that name a signing command",
            remedy="name the private key otherwise, for example key.pem",
        )
    for file in (path, public_path):
        if file.exists() or file.is_symlink():
            raise InputError(f"{file}: exists and is not overwritten", remedy="choose another name or move the old key")
    secret = find_passphrase(passphrase)
    key = make(kind)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption(),
    )
    signing = SigningKey(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_file(path, pem, 0o600)
        create_file(public_path, signing.public_pem, 0o644)
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be made: {error.strerror}", remedy="choose a writable folder"
        ) from error
    return signing


def load_private(path: Path, passphrase: str | None = None) -> SigningKey:
    """Read a private key (PEM), or the YAML file of a signing command; see `external`.

    Where ``passphrase`` is None, that of the environment counts.

    Raises:
        InputError: unreadable, not a PEM private key, the passphrase missing or wrong, or another scheme.
    """
    if is_external(path):
        signer = SigningKey(load_external(path))
        _ = signer.public  # another scheme is an error now, not when it is first used
        return signer
    key = read_private(path, passphrase)
    if kind_of(key) is None:
        raise unsupported(str(path), key, KEYGEN)
    return SigningKey(key)  # type: ignore[arg-type]  # kind_of knows only keys of this type


def load_public(path: Path) -> VerifyingKey:
    """Read a public key (PEM SubjectPublicKeyInfo).

    Raises:
        InputError: unreadable, not a PEM public key (a private key is refused too), or another scheme.
    """
    return VerifyingKey.of(read_public_file(path), str(path))


def parse_verifying_key(pem: bytes, what: str) -> VerifyingKey:
    """Parse a public key (PEM SubjectPublicKeyInfo).

    Raises:
        InputError: not a PEM public key, or another scheme; the message starts with ``what``.
    """
    return VerifyingKey.of(parse_public(pem, what), what)


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
