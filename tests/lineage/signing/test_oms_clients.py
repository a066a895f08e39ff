"""Against the reference client of OpenSSF Model Signing, in both directions, on every key and with certificates."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.signing.oms import build_manifest, sign_manifest, write_signature
from weightgate.lineage.signing.oms_certificates import load_certificates
from weightgate.lineage.signing.oms_keys import ModelSigningKey, load_signing_key, load_verifying_key
from weightgate.lineage.signing.oms_verify import Believed, verify_model

CLIENT = (
    os.environ.get("MODEL_SIGNING_CLI")
    or shutil.which("model_signing")
    or f"{Path(sys.executable).parent}/model_signing"
)
NOW = datetime.now(UTC)
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}

pytestmark = pytest.mark.skipif(
    not Path(CLIENT).exists(),
    reason="no model_signing client: install weightgate[oms-test], or name one in MODEL_SIGNING_CLI",
)


def client(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the reference client."""
    return subprocess.run([CLIENT, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Names that the reference orders otherwise than the specification, hidden and empty files among them."""
    folder = tmp_path / "model"
    for name in ("sub.txt", "sub/x.bin", ".hidden/y", "empty", "é.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if name == "empty" else name.encode())
    return folder


def key_pair(folder: Path, curve: ec.EllipticCurve) -> tuple[Path, Path]:
    """PEM files of a new key."""
    key = ec.generate_private_key(curve)
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(ModelSigningKey(key).public.public_pem)
    return private, public


@pytest.mark.parametrize("curve", CURVES)
def test_the_reference_accepts_our_signature(curve: str, model: Path, tmp_path: Path) -> None:
    """With further digests in the subject and claims beside the model; and refuses it once a file changed."""
    private, public = key_pair(tmp_path, CURVES[curve])
    manifest = build_manifest(model, digests={"tensorRoot": "ab" * 32})
    write_signature(model / "model.sig", sign_manifest(manifest, load_signing_key(private)))
    (model / "claims.jsonl").write_text("later\n")
    command = ("verify", "key", model, "--signature", model / "model.sig", "--public_key", public)
    answer = client(*command)
    assert answer.returncode == 0, answer.stderr
    (model / "sub.txt").write_text("changed")
    assert client(*command).returncode != 0


@pytest.mark.parametrize("curve", CURVES)
def test_we_accept_the_signature_of_the_reference(curve: str, model: Path, tmp_path: Path) -> None:
    """As it is written by default; and refuse it once a file changed."""
    private, public = key_pair(tmp_path, CURVES[curve])
    command = ("sign", "key", model, "--signature", model / "model.sig", "--private_key", private)
    answer = client(*command, "--ignore-paths", model / "empty")
    assert answer.returncode == 0, answer.stderr
    believed = Believed(keys=(load_verifying_key(public),))
    assert verify_model(model, model / "model.sig", believed, NOW).uncovered == ("empty",)
    (model / "sub" / "x.bin").write_text("changed")
    with pytest.raises(IntegrityError, match=r"x\.bin"):
        verify_model(model, model / "model.sig", believed, NOW)


def test_certificates_work_in_both_directions(model: Path, tmp_path: Path) -> None:
    """A leaf under a root of our own making."""
    root_key, private = ec.generate_private_key(ec.SECP256R1()), key_pair(tmp_path, ec.SECP384R1())[0]
    leaf_key = load_signing_key(private)
    root = _certificate("root", root_key.public_key(), "root", root_key, ca=True)
    leaf = _certificate("leaf", leaf_key._key.public_key(), "root", root_key, ca=False)
    for name, certificate in (("root.pem", root), ("leaf.pem", leaf)):
        (tmp_path / name).write_bytes(certificate.public_bytes(Encoding.PEM))

    write_signature(model / "model.sig", sign_manifest(build_manifest(model), leaf_key, [leaf]))
    check = ("--signature", model / "model.sig", "--certificate_chain", tmp_path / "root.pem")
    answer = client("verify", "certificate", model, *check)
    assert answer.returncode == 0, answer.stderr

    (model / "model.sig").unlink()
    answer = client(
        *("sign", "certificate", model, "--signature", model / "model.sig", "--private_key", private),
        *("--signing_certificate", tmp_path / "leaf.pem", "--certificate_chain", tmp_path / "root.pem"),
    )
    assert answer.returncode == 0, answer.stderr
    believed = Believed(roots=load_certificates(tmp_path / "root.pem"), identity="release@example.org")
    assert "release@example.org" in verify_model(model, model / "model.sig", believed, NOW).signer


def test_what_the_reference_accepts_and_we_refuse(model: Path, tmp_path: Path) -> None:
    """A file that turned up in .git after signing."""
    private, public = key_pair(tmp_path, ec.SECP256R1())
    write_signature(model / "model.sig", sign_manifest(build_manifest(model), load_signing_key(private)))
    (model / ".git").mkdir()
    (model / ".git" / "evil.py").touch()
    answer = client("verify", "key", model, "--signature", model / "model.sig", "--public_key", public)
    assert answer.returncode == 0, answer.stderr
    with pytest.raises(IntegrityError, match=r"\.git/evil\.py"):
        verify_model(model, model / "model.sig", Believed(keys=(load_verifying_key(public),)), NOW)


def test_the_statement_is_one_that_in_toto_reads(model: Path, tmp_path: Path) -> None:
    """The validator of in-toto-attestation, beside the reference client, finds nothing amiss."""
    python = Path(CLIENT).with_name("python")
    bundle = sign_manifest(build_manifest(model), load_signing_key(key_pair(tmp_path, ec.SECP256R1())[0]))
    program = (
        "import base64, sys; from google.protobuf import json_format; from in_toto_attestation.v1 import statement_pb2;"
        "from in_toto_attestation.v1.statement import Statement;"
        "text = base64.b64decode(sys.argv[1]); pb = json_format.Parse(text, statement_pb2.Statement());"
        "Statement.copy_from_pb(pb).validate()"
    )
    payload = base64.b64encode(bundle.payload).decode()
    answer = subprocess.run([python, "-c", program, payload], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(bundle.payload)["subject"][0]["name"] == "model"


@pytest.mark.parametrize("recipe", [False, True])
def test_in_toto_reads_a_changeset_and_a_replay(recipe: bool) -> None:
    """Both signed statements of an audit, with and without a recipe, are in-toto statements to its own library."""
    from weightgate.lineage.changeset import Changeset, Delta, ModelVersion, statement
    from weightgate.lineage.recipe import Recipe
    from weightgate.lineage.replay import Replay
    from weightgate.lineage.replay import statement as replay_statement

    zero = "0" * 64
    version = ModelVersion(name="v1", root=zero, tensor_root=zero, parameters=2**40)
    delta = Delta(kind="identical", tensors_total=1, tensors_changed=0, parameters_changed_fraction=0)
    changeset = Changeset(
        created="2030-01-01T00:00:00Z",
        author="sha256:0",
        parent=version,
        child=version,
        delta=delta,
        recipe=Recipe(command=("python",), inputs=(), output="o", seeds={"torch": 2**50}) if recipe else None,
    )
    replay = Replay(
        outcome="bit-exact",
        replayed="2030-01-01T00:00:00Z",
        replayer="sha256:0",
        name="v1",
        parent=zero,
        child=zero,
        tensor_root=zero,
        changeset=zero,
    )
    program = (
        "import sys; from google.protobuf import json_format; from in_toto_attestation.v1 import statement_pb2;"
        "from in_toto_attestation.v1.statement import Statement;"
        "pb = json_format.Parse(sys.stdin.buffer.read(), statement_pb2.Statement());"
        "Statement.copy_from_pb(pb).validate(); print(pb.predicate_type)"
    )
    python = Path(CLIENT).with_name("python")
    for payload, kind in ((statement(changeset), "changeset"), (replay_statement(replay), "replay")):
        answer = subprocess.run([python, "-c", program], input=payload, capture_output=True, check=False)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.decode().strip() == f"https://weightgate.dev/attestation/{kind}/v1"


def _certificate(
    name: str, public: ec.EllipticCurvePublicKey, issuer: str, key: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"], False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, decipher_only=False, **usage), True
        )
    )
    if not ca:
        names = x509.SubjectAlternativeName([x509.RFC822Name("release@example.org")])
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
        builder = builder.add_extension(names, False)
    return builder.sign(key, hashes.SHA256())
