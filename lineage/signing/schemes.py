"""The signature schemes of audits and approvals: Ed25519, ECDSA P-256 with SHA-256, and ML-DSA-65.

ML-DSA is the pure variant of FIPS 204 with an empty context, over the very bytes that the other schemes sign; TUF's
own scheme ``ml-dsa-65/1`` signs a hash of them instead, and the two do not verify each other.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from weightgate.lineage.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

KeyKind = Literal["ed25519", "ecdsa-p256", "ml-dsa-65"]
KINDS: tuple[KeyKind, ...] = get_args(KeyKind)
NAMES: dict[KeyKind, str] = {"ed25519": "Ed25519", "ecdsa-p256": "ECDSA P-256", "ml-dsa-65": "ML-DSA-65"}

PrivateHalf: TypeAlias = "Ed25519PrivateKey | ec.EllipticCurvePrivateKey | MLDSA65PrivateKey"
PublicHalf: TypeAlias = "Ed25519PublicKey | ec.EllipticCurvePublicKey | MLDSA65PublicKey"

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SEC 2 v2, §2.4.2
_NO_ML_DSA = "pip install 'cryptography>=48', or use --kind ed25519"


def kind_of(key: object) -> KeyKind | None:
    """The scheme of a private or public key as `cryptography` holds it; None for any other."""
    if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return "ecdsa-p256" if isinstance(key.curve, ec.SECP256R1) else None
    mldsa = _mldsa()
    if mldsa is not None and isinstance(key, mldsa.MLDSA65PrivateKey | mldsa.MLDSA65PublicKey):
        return "ml-dsa-65"
    return None


def make(kind: KeyKind) -> PrivateHalf:
    """A new private key.

    Raises:
        InputError: the installed `cryptography` has no ML-DSA.
    """
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    if kind == "ecdsa-p256":
        return ec.generate_private_key(ec.SECP256R1())
    mldsa = _mldsa()
    try:
        if mldsa is not None:
            made: PrivateHalf = mldsa.MLDSA65PrivateKey.generate()
            return made
    except UnsupportedAlgorithm:
        pass
    raise InputError("the installed cryptography library has no ML-DSA", remedy=_NO_ML_DSA)


def sign_with(key: PrivateHalf, data: bytes) -> bytes:
    """Sign ``data``: 64 bytes for Ed25519 (RFC 8032), DER with low s for ECDSA, 3309 bytes for ML-DSA-65 (FIPS 204)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return normal_form(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return key.sign(data)


def check(key: PublicHalf, signature: bytes, data: bytes) -> None:
    """Check a signature. Of the two ECDSA signatures that follow from each other, only the one with low s counts.

    Raises:
        IntegrityError: the ECDSA signature is not in the one form that counts.
        InvalidSignature, ValueError: this key did not sign ``data``.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if normal_form(signature) != signature:
            raise IntegrityError("the ECDSA signature is not in its normal form", remedy="sign again")
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        return
    key.verify(signature, data)


def normal_form(signature: bytes) -> bytes:
    """The one DER encoding with low s; from (r, s) anyone can make (r, n - s), which verifies as well.

    Raises:
        ValueError: not the DER form of an ECDSA signature.
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _P256_ORDER - s))


def unsupported(what: str, key: object, remedy: str) -> InputError:
    """The error for a key of another scheme; its message starts with ``what``."""
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    return InputError(
        f"{what}: {name} keys of this kind are not supported",
        remedy=f"Ed25519 or ECDSA P-256, or ML-DSA-65: {remedy}",
    )


def _mldsa() -> ModuleType | None:
    """`cryptography` has ML-DSA since release 48."""
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError:
        return None
    return mldsa
