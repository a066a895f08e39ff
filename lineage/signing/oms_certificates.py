"""Certificate chains of model signatures: built and checked with `cryptography` alone (RFC 5280 §6.1).

Revocation lists are not consulted. A certificate with a critical extension that is not understood here, such as name
constraints, is refused, as RFC 5280 §4.2 asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.oms_keys import ModelVerifyingKey

Kind = TypeVar("Kind", bound=x509.ExtensionType)

MAX_CHAIN = 10
MIN_RSA_BITS = 2048

_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}
_WEAK_HASHES = {"md5", "sha1"}
_REMEDY = "ask the signer for a valid code-signing certificate, and give its root with --certificate-chain"


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose certificate signed: its key, and the names it is for."""

    key: ModelVerifyingKey
    subject: str
    identities: tuple[str, ...]
    """Subject alternative names: e-mail addresses, URIs and host names."""


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file, in its order.

    Raises:
        InputError: unreadable, or no PEM certificates.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: no PEM certificates", remedy="give a file with BEGIN CERTIFICATE blocks") from error


def verify_chain(
    chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], at: datetime, identity: str | None
) -> Signer:
    """The signer, once the leaf was traced to a trusted root.

    Args:
        chain: leaf first, then certificates that may lead to a root.
        trusted: those that are self-signed are roots; others may lead to one.
        at: time with a time zone at which every certificate has to be valid.
        identity: subject alternative name that the leaf has to carry; None where any will do.

    Raises:
        IntegrityError: no chain to a root, an expired certificate, or one for another purpose or identity.
    """
    leaf = chain[0]
    if len(chain) > MAX_CHAIN:
        raise IntegrityError(f"a chain of {len(chain)} certificates is too long", remedy=_REMEDY)
    try:
        fault = _validity_fault(leaf, at) or _purpose_fault(leaf)
        signer = Signer(_key(leaf), leaf.subject.rfc4514_string(), _identities(leaf))
        fault = fault or _chain_fault(leaf, chain[1:], trusted, at)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as error:
        raise IntegrityError(f"the certificate chain is malformed: {error}", remedy=_REMEDY) from error
    if fault:
        raise IntegrityError(fault, remedy=_REMEDY)
    if identity is not None and identity not in signer.identities:
        held = ", ".join(signer.identities) or "no subject alternative name"
        raise IntegrityError(
            f"the certificate is not for {identity}: it has {held}", remedy="give the identity that should have signed"
        )
    return signer


def parse_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates from DER.

    Raises:
        IntegrityError: not certificates.
    """
    try:
        return tuple(x509.load_der_x509_certificate(der) for der in chain)
    except ValueError as error:
        raise IntegrityError("the signature holds a malformed certificate", remedy=_REMEDY) from error


def signing_fault(leaf: x509.Certificate, at: datetime) -> str | None:
    """Why a certificate cannot sign models at a time; None where it can."""
    return _validity_fault(leaf, at) or _purpose_fault(leaf)


def _key(leaf: x509.Certificate) -> ModelVerifyingKey:
    try:
        return ModelVerifyingKey.of(leaf.public_key(), "the certificate")
    except InputError as error:
        raise IntegrityError(str(error), remedy=_REMEDY) from error


def _chain_fault(
    leaf: x509.Certificate, given: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], at: datetime
) -> str | None:
    """Follow issuers from the leaf until one is a root; None where that works out."""
    roots = [certificate for certificate in trusted if _issued_by(certificate, certificate)]
    candidates = [*roots, *trusted, *given]
    fault = f"the certificate {_name(leaf)} does not lead to a root that is trusted"
    paths: list[tuple[x509.Certificate, ...]] = [(leaf,)]
    for _ in range(MAX_CHAIN):
        longer = []
        for path in paths:
            if path[-1] in roots:
                return None
            for issuer in dict.fromkeys(candidates):
                if issuer in path or not _issued_by(path[-1], issuer):
                    continue
                if found := _validity_fault(issuer, at) or _issuer_fault(issuer, len(path) - 1):
                    fault = found
                else:
                    longer.append((*path, issuer))
        paths = longer[:MAX_CHAIN]
    return fault


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _validity_fault(certificate: x509.Certificate, at: datetime) -> str | None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        return (
            f"the certificate {_name(certificate)} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, not at {at:%Y-%m-%d}"
        )
    hash_used = certificate.signature_hash_algorithm
    if hash_used is not None and hash_used.name in _WEAK_HASHES:
        return f"the certificate {_name(certificate)} is signed with {hash_used.name}"
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"the certificate {_name(certificate)} has an RSA key of only {key.key_size} bits"
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            return f"the certificate {_name(certificate)} has a critical extension {extension.oid.dotted_string}"
    return None


def _purpose_fault(leaf: x509.Certificate) -> str | None:
    usage, purposes = _extension(leaf, x509.KeyUsage), _extension(leaf, x509.ExtendedKeyUsage)
    if usage is None and purposes is None:
        return f"the certificate {_name(leaf)} does not say that it may sign"
    if usage is not None and not usage.digital_signature:
        return f"the certificate {_name(leaf)} may not make digital signatures"
    if purposes is not None and ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        return f"the certificate {_name(leaf)} is not for code signing"
    return None


def _issuer_fault(issuer: x509.Certificate, below: int) -> str | None:
    """``below`` is the number of authorities between the issuer and the leaf."""
    constraints, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    purposes = _extension(issuer, x509.ExtendedKeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        return f"the certificate {_name(issuer)} may not issue certificates"
    if constraints.path_length is not None and below > constraints.path_length:
        return f"the certificate {_name(issuer)} may not have so many authorities below it"
    allowed = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and not allowed.intersection(purposes):
        return f"the certificate {_name(issuer)} may not issue certificates for code signing"
    return None


def _identities(leaf: x509.Certificate) -> tuple[str, ...]:
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None:
        return ()
    kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
    return tuple(name.value for name in names if isinstance(name, kinds))


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "without a name"
