"""Keys of model signatures: ECDSA on P-256, P-384 or P-521, with the hash of its size (OMS algorithm registry)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.external import ExternalSigner, is_external, load_external
from weightgate.lineage.signing.key_files import read_private, read_public

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_KEYGEN = "make a key with `weightgate keygen FILE --kind ecdsa-p256`"


@dataclass(frozen=True, slots=True)
class ModelVerifyingKey:
    """The public half of a key pair on one of the three curves."""

    _key: ec.EllipticCurvePublicKey

    @classmethod
    def of(cls, key: object, what: str) -> ModelVerifyingKey:
        """Take a key that was read elsewhere.

        Raises:
            InputError: another scheme or curve; the message starts with ``what``.
        """
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
            return cls(key)
        raise _unsupported(what, key)

    @property
    def public_pem(self) -> bytes:
        """The key as PEM SubjectPublicKeyInfo."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def hint(self) -> str:
        """How a bundle names the key: hexadecimal SHA-256 of its PEM text, the final newline included."""
        return sha256_hex(self.public_pem)

    @property
    def kind(self) -> str:
        """The curve, for example ``"ECDSA P-384"``."""
        return f"ECDSA P-{self._key.curve.key_size}"

    def verify(self, signature: bytes, data: bytes, algorithm: hashes.HashAlgorithm | None = None) -> None:
        """Check a DER signature over ``data``. Either of the two forms of s counts: other signers do not choose one.

        Args:
            signature: what to check.
            data: what was signed.
            algorithm: hash of the data, where it is not that of the curve.

        Raises:
            IntegrityError: this key did not sign ``data``.
        """
        try:
            self._key.verify(signature, data, ec.ECDSA(algorithm or _HASHES[self._key.curve.name]()))
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError(
                f"the signature does not belong to this content and key {self.hint}",
                remedy="the content was changed, or another key signed it",
            ) from error


@dataclass(frozen=True, slots=True, repr=False)
class ModelSigningKey:
    """A private key on one of the three curves, or the command that holds one. Its representation does not show it."""

    _key: ec.EllipticCurvePrivateKey | ExternalSigner

    @property
    def public(self) -> ModelVerifyingKey:
        """The public half."""
        if isinstance(self._key, ExternalSigner):
            return ModelVerifyingKey.of(self._key.public_key, self._key.name)
        return ModelVerifyingKey(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Sign ``data``; DER.

        Raises:
            InputError: the command that holds the key fails.
            IntegrityError: what the command answered is no signature of ``data`` by its key.
        """
        if isinstance(self._key, ExternalSigner):
            return self._ask(self._key, data)
        return self._key.sign(data, ec.ECDSA(_HASHES[self._key.curve.name]()))

    def _ask(self, signer: ExternalSigner, data: bytes) -> bytes:
        signature = signer.sign(data)
        try:
            self.public.verify(signature, data)
        except IntegrityError as error:
            raise IntegrityError(f"{signer.name}: {error}", remedy=_SIGNS_INPUT) from error
        return signature


_SIGNS_INPUT = "check that it signs standard input unchanged, with the key whose public half is named"


def load_signing_key(path: Path, passphrase: str | None = None) -> ModelSigningKey:
    """Read a private key (PEM), or the YAML file of a signing command; see `external`.

    Where ``passphrase`` is None, that of the environment counts.

    Raises:
        InputError: unreadable, not a private key, wrong passphrase, or another scheme or curve.
    """
    if is_external(path):
        signer = ModelSigningKey(load_external(path))
        _ = signer.public  # another scheme is an error now, not when it is first used
        return signer
    key = read_private(path, passphrase)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _HASHES:
        return ModelSigningKey(key)
    raise _unsupported(str(path), key)


def load_verifying_key(path: Path) -> ModelVerifyingKey:
    """Read a public key (PEM SubjectPublicKeyInfo).

    Raises:
        InputError: unreadable, not a public key, or another scheme or curve.
    """
    return ModelVerifyingKey.of(read_public(path), str(path))


def _unsupported(what: str, key: object) -> InputError:
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    return InputError(
        f"{what}: a {name} key cannot sign models: OMS signatures are ECDSA on P-256, P-384 or P-521", remedy=_KEYGEN
    )
