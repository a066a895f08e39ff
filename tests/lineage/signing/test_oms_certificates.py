"""Certificates of model signers: who is traced to a root, and who is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.oms import build_manifest, sign_manifest, signing_chain, write_signature
from weightgate.lineage.signing.oms_certificates import load_certificates, verify_chain
from weightgate.lineage.signing.oms_keys import ModelSigningKey
from weightgate.lineage.signing.oms_verify import Believed, verify_model

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WHO = "release@example.org"


@dataclass
class Party:
    """A key with a certificate for it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


@dataclass
class Order:
    """What a certificate is to say; the defaults are those of a code signer that is valid at NOW."""

    name: str
    ca: bool = False
    path_length: int | None = None
    signs: bool = True
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    start: datetime = NOW - timedelta(days=10)
    end: datetime = NOW + timedelta(days=10)
    names: Sequence[x509.GeneralName] = (x509.RFC822Name(WHO),)
    digest: Any = field(default_factory=hashes.SHA256)
    curve: Any = field(default_factory=ec.SECP384R1)
    extra: tuple[x509.ExtensionType, bool] | None = None


def issue(order: Order, issuer: Party | None = None) -> Party:
    """Make a key and its certificate; self-signed without an issuer."""
    key = ec.generate_private_key(order.curve)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, order.name)])
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"], False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(order.start)
        .not_valid_after(order.end)
        .add_extension(x509.BasicConstraints(ca=order.ca, path_length=order.path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=order.signs,
                key_cert_sign=order.ca,
                crl_sign=order.ca,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
    )
    if order.purposes and not order.ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(order.purposes), critical=False)
    if order.names and not order.ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(order.names), critical=False)
    if order.extra:
        builder = builder.add_extension(order.extra[0], critical=order.extra[1])
    return Party(key, builder.sign(issuer.key if issuer else key, order.digest))


ROOT = issue(Order("root", ca=True))
MIDDLE = issue(Order("middle", ca=True, path_length=0), ROOT)
LEAF = issue(Order("leaf"), MIDDLE)


def check(leaf: Party, *between: Party, trusted: Sequence[Party] = (ROOT,), identity: str | None = None) -> Any:
    """Verify a chain at NOW."""
    chain = [party.certificate for party in (leaf, *between)]
    return verify_chain(chain, [party.certificate for party in trusted], NOW, identity)


def test_a_signer_is_traced_to_the_root() -> None:
    """Through what the bundle or the verifier brings, in any order; a leaf that is trusted itself needs no more."""
    assert check(LEAF, MIDDLE, identity=WHO).identities == (WHO,)
    assert check(LEAF, ROOT, MIDDLE).subject == "CN=leaf"
    assert check(LEAF, trusted=(MIDDLE, ROOT)).subject == "CN=leaf"
    alone = issue(Order("alone"))
    assert check(alone, trusted=(alone,)).subject == "CN=alone"


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (Order("x", end=NOW - timedelta(days=1)), "is valid from"),
        (Order("x", start=NOW + timedelta(days=1)), "is valid from"),
        (Order("x", purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), "not for code signing"),
        (Order("x", signs=False), "may not make digital signatures"),
        (Order("x", names=[x509.RFC822Name("other@example.org")]), "not for release@example.org: it has other@"),
        (Order("x", names=[]), "no subject alternative name"),
        (Order("x", curve=ec.SECP256K1()), "P-256, P-384 or P-521"),
        (Order("x", extra=(x509.NameConstraints([x509.DNSName("a")], None), True)), "critical extension"),
    ],
)
def test_a_leaf_for_something_else_is_refused(order: Order, why: str) -> None:
    """Expired, not yet valid, of a web server, of another person, on another curve, with unknown conditions."""
    with pytest.raises(IntegrityError, match=why):
        check(issue(order, MIDDLE), MIDDLE, identity=WHO)


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        (issue(Order("i", ca=True, end=NOW - timedelta(days=1)), ROOT), "is valid from"),
        (issue(Order("i"), ROOT), "may not issue"),
        (issue(Order("i", ca=True), MIDDLE), "so many authorities"),
        (issue(Order("i", ca=True)), "does not lead to a root"),
        (
            issue(Order("i", ca=True, extra=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)), ROOT),
            "code",
        ),
    ],
    ids=["expired", "no authority", "too long", "another root", "for servers"],
)
def test_an_issuer_that_may_not_issue_is_refused(issuer: Party, why: str) -> None:
    """Every certificate on the way counts, not only the leaf."""
    with pytest.raises(IntegrityError, match=why):
        check(issue(Order("leaf"), issuer), issuer, MIDDLE)


def test_an_authority_of_the_same_name_is_not_the_authority() -> None:
    """Names do not make a chain, signatures do."""
    impostor = issue(Order("root", ca=True))
    with pytest.raises(IntegrityError, match="does not lead to a root"):
        check(issue(Order("leaf"), impostor))


def test_a_trusted_intermediate_alone_is_no_root() -> None:
    """What is not self-signed leads to a root, but is none."""
    with pytest.raises(IntegrityError, match="does not lead to a root"):
        check(LEAF, trusted=(MIDDLE,))


def test_a_model_signed_with_a_certificate(tmp_path: Path) -> None:
    """The bundle carries leaf and intermediate, not the root; a public key or a wrong identity does not verify it."""
    model = tmp_path / "m"
    model.mkdir()
    (model / "a").write_bytes(b"1")
    key = ModelSigningKey(LEAF.key)
    chain = signing_chain([party.certificate for party in (LEAF, MIDDLE, ROOT)], key, NOW)
    bundle = sign_manifest(build_manifest(model), key, chain)
    assert bundle.certificates == tuple(p.certificate.public_bytes(Encoding.DER) for p in (LEAF, MIDDLE))
    write_signature(model / "model.sig", bundle)
    roots = (ROOT.certificate,)
    assert WHO in verify_model(model, model / "model.sig", Believed(roots=roots, identity=WHO), NOW).signer
    for believed, error in (
        (Believed(roots=roots, identity="else@example.org"), IntegrityError),
        (Believed(keys=(key.public,)), InputError),
    ):
        with pytest.raises(error):
            verify_model(model, model / "model.sig", believed, NOW)
    with pytest.raises(IntegrityError, match="is valid from"):
        verify_model(model, model / "model.sig", Believed(roots=roots), NOW + timedelta(days=30))
    (model / "a").write_bytes(b"2")
    with pytest.raises(IntegrityError, match="not the content"):
        verify_model(model, model / "model.sig", Believed(roots=roots), NOW)


def test_signing_with_a_certificate_that_would_not_verify_is_bad_input(tmp_path: Path) -> None:
    """That of another key, and an expired one, before anything is signed; a file that holds none."""
    other = issue(Order("other"))
    with pytest.raises(InputError, match="not for this key"):
        signing_chain([other.certificate], ModelSigningKey(LEAF.key), NOW)
    with pytest.raises(InputError, match="is valid from"):
        signing_chain([other.certificate], ModelSigningKey(other.key), NOW + timedelta(days=30))
    (tmp_path / "x").write_text("no certificate")
    with pytest.raises(InputError, match="no PEM certificates"):
        load_certificates(tmp_path / "x")
