"""Trusted time, from a timestamping authority that openssl plays."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from weightgate.audit.sign import sign
from weightgate.audit.timestamp import attach, write_query
from weightgate.audit.verify_model import verify_signed_model
from weightgate.audit.verify_trust import verify_trusted
from weightgate.lineage.errors import InputError, IntegrityError, MissingExtraError
from weightgate.lineage.signing import timestamps
from weightgate.lineage.signing.keys import generate
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.folder import open_draft

if TYPE_CHECKING:
    from conftest import Command, Office

pytest.importorskip("rfc3161_client")
if shutil.which("openssl") is None:
    pytest.skip("openssl is not installed", allow_module_level=True)

CONFIG = """
[tsa]
default_tsa = own
[own]
serial = {at}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def openssl(*arguments: object) -> None:
    """Run it."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, and a certificate under it that may stamp."""
    at = tmp_path_factory.mktemp("tsa")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (at / "serial").write_text("01")
    (at / "tsa.cnf").write_text(CONFIG.format(at=at))
    (at / "ca.ext").write_text(
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    )
    (at / "tsa.ext").write_text(
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n"
    )
    for name in ("root", "other"):
        openssl("req", *curve, "-keyout", at / f"{name}.key", "-out", at / f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509",
            "-req",
            "-in",
            at / f"{name}.csr",
            "-signkey",
            at / f"{name}.key",
            "-days",
            3650,
            "-out",
            at / f"{name}.pem",
            "-extfile",
            at / "ca.ext",
        )
    openssl("req", *curve, "-keyout", at / "tsa.key", "-out", at / "tsa.csr", "-subj", "/CN=tsa")
    ca = ("-CA", at / "root.pem", "-CAkey", at / "root.key", "-CAcreateserial", "-days", 3650)
    openssl("x509", "-req", "-in", at / "tsa.csr", *ca, "-out", at / "tsa.pem", "-extfile", at / "tsa.ext")
    return at


def answer(authority: Path, query: Path, reply: Path) -> bytes:
    """What the authority answers now."""
    signer = ("-signer", authority / "tsa.pem", "-inkey", authority / "tsa.key", "-config", authority / "tsa.cnf")
    openssl("ts", "-reply", "-queryfile", query, *signer, "-out", reply)
    return reply.read_bytes()


def stamp(authority: Path, file: Path) -> Path:
    """Stamp a file, as one does without a network."""
    query = file.with_name("query.tsq")
    write_query(file, query)
    reply = answer(authority, query, authority / "reply.tsr")
    query.unlink()
    return attach(file, reply, [authority / "root.pem"])[0]


def test_a_stamp_is_made_offline_and_checked_by_openssl_too(authority: Path, tmp_path: Path) -> None:
    """Query, answer, check: the time is now, the file beside is what `openssl ts -verify` accepts."""
    file = tmp_path / "verdict.json"
    file.write_text("{}")
    path = stamp(authority, file)
    assert path.name == "verdict.json.tsr"
    moment = timestamps.check_reply(path.read_bytes(), b"{}", timestamps_roots(authority), "x")
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=5)
    openssl("ts", "-verify", "-data", file, "-in", path, "-CAfile", authority / "root.pem")


def timestamps_roots(authority: Path, name: str = "root") -> list:  # type: ignore[type-arg]
    """The root to believe."""
    from weightgate.lineage.signing.oms_certificates import load_certificates

    return list(load_certificates(authority / f"{name}.pem"))


def test_what_is_no_stamp_of_the_file_is_refused(authority: Path, tmp_path: Path) -> None:
    """Another file, another root, no root, any changed byte, and no timestamp at all; nothing is laid beside."""
    file, other = tmp_path / "a.json", tmp_path / "b.json"
    file.write_text("a")
    other.write_text("b")
    reply = stamp(authority, file).read_bytes()
    for target, data, root, error in (
        (other, reply, "root", IntegrityError),
        (other, b"", "root", IntegrityError),
        (other, b"x" * (timestamps.MAX_REPLY + 1), "root", IntegrityError),
        (other, reply, "other", IntegrityError),
    ):
        with pytest.raises(error):
            attach(target, data, [authority / f"{root}.pem"])
    with pytest.raises(IntegrityError):
        timestamps.check_reply(reply, b"a", timestamps_roots(authority, "other"), "x")
    with pytest.raises(InputError, match="no root of a timestamping"):
        attach(other, reply, [])
    assert not timestamps.reply_file(other).exists()
    roots, good = timestamps_roots(authority), timestamps.check_reply(reply, b"a", timestamps_roots(authority), "x")
    refusal = bytes.fromhex("30053003020102")  # PKIStatus rejection, no token (RFC 3161 §2.4.2)
    with pytest.raises(IntegrityError):
        timestamps.check_reply(refusal, b"a", roots, "x")
    for at in range(len(reply)):
        changed = reply[:at] + bytes([reply[at] ^ (1 << at % 8)]) + reply[at + 1 :]
        try:
            assert (
                timestamps.check_reply(changed, b"a", roots, "x") == good
            )  # bytes that nobody signs, such as the status text
        except IntegrityError:
            continue


def test_an_earlier_stamp_is_kept(authority: Path, tmp_path: Path) -> None:
    """A later one proves less."""
    file = tmp_path / "a.json"
    file.write_text("a")
    stamp(authority, file)
    with pytest.raises(InputError, match="an earlier timestamp"):
        stamp(authority, file)


def test_an_expired_root_counts_at_the_trusted_time(office: Office, authority: Path) -> None:
    """Only where every signed file was stamped before it expired; the stamps have to check out."""
    root = open_draft(office.trust)
    for name in ("cleo", "dan", "eve"):
        root = edit.remove_key(root, office.keys[name].key_id, now=datetime.now(UTC))
    office.change(edit.set_expiry(root, datetime.now(UTC), 30), "ann", "bob")
    later = datetime.now(UTC) + timedelta(days=60)
    files, trusted = ("changeset.json", "verdict.json"), [authority / "root.pem"]
    for name in files:
        with pytest.raises(IntegrityError, match="expired"):
            verify_trusted(office.run, office.trust, tsa_roots=trusted, now=later)
        stamp(authority, office.run / name)
    found = verify_trusted(office.run, office.trust, tsa_roots=trusted, now=later)
    assert any(check.name == "trusted time" and "2 of 2" in check.detail for check in found.checks)
    with pytest.raises(IntegrityError, match="expired"):
        verify_trusted(office.run, office.trust, now=later)
    with pytest.raises(IntegrityError, match=r"changeset\.json\.tsr"):
        verify_trusted(office.run, office.trust, tsa_roots=[authority / "other.pem"], now=later)


def test_a_model_signed_with_a_certificate_that_expired_since(authority: Path, tmp_path: Path) -> None:
    """At the time of its stamp the certificate was valid; without the stamp, or with a false one, it is refused."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.txt").write_text("1")
    key = generate(tmp_path / "key.pem", "ecdsa-p256")
    root_key = load_pem_private_key((authority / "root.key").read_bytes(), None)
    root = load_pem_x509_certificate((authority / "root.pem").read_bytes())
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "team")]))
        .issuer_name(root.subject)
        .public_key(key.public.raw)
        .serial_number(7)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(seconds=3))
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(root_key, SHA256())
    )
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    sign(model, key=tmp_path / "key.pem", certificate_chain=[tmp_path / "leaf.pem"])
    stamp(authority, model / "model.sig")
    time.sleep(max(0.0, (now + timedelta(seconds=4) - datetime.now(UTC)).total_seconds()))
    chain, trusted = [authority / "root.pem"], [authority / "root.pem"]
    with pytest.raises(IntegrityError, match=r"valid|expired"):
        verify_signed_model(model, public_keys=[], certificate_chain=chain)
    found = verify_signed_model(model, public_keys=[], certificate_chain=chain, tsa_roots=trusted)
    assert any(check.name == "trusted time" for check in found.checks)
    with pytest.raises(IntegrityError, match=r"model\.sig\.tsr"):
        verify_signed_model(model, public_keys=[], certificate_chain=chain, tsa_roots=[authority / "other.pem"])


def test_the_command_takes_one_step_at_a_time(authority: Path, tmp_path: Path, weightgate: Command) -> None:
    """Query, then answer; over the network in one."""
    file = tmp_path / "a.json"
    file.write_text("a")
    assert weightgate("timestamp", file).code == 2
    assert weightgate("timestamp", file, "--query", "q.tsq", "--tsa-url", "http://x").code == 2
    assert weightgate("timestamp", file, "--query", "q.tsq", "--json").json == {"query": "q.tsq"}
    assert weightgate("timestamp", file, "--query", "q.tsq").code == 2
    answer(authority, tmp_path / "q.tsq", tmp_path / "r.tsr")
    trusted = ("--tsa-root", authority / "root.pem")
    assert weightgate("timestamp", file, "--tsa-reply", "r.tsr").code == 2
    assert weightgate("timestamp", file, "--tsa-reply", "r.tsr", "--tsa-root", authority / "other.pem").code == 4
    assert weightgate("timestamp", file, "--tsa-url", "file:///etc/passwd", *trusted).code == 2
    assert weightgate("timestamp", file, "--tsa-url", "http://127.0.0.1:9", *trusted).code == 2
    done = weightgate("timestamp", file, "--tsa-reply", "r.tsr", *trusted)
    assert (done.code, "was there at" in done.out) == (0, True)


def test_an_authority_is_asked_over_http(authority: Path, tmp_path: Path, weightgate: Command) -> None:
    """POST of the query, as RFC 3161 §3.4 has it."""

    class Authority(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            (tmp_path / "seen.tsq").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            reply = answer(authority, tmp_path / "seen.tsq", tmp_path / "said.tsr")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Authority)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        (tmp_path / "a.json").write_text("a")
        address = f"http://127.0.0.1:{server.server_port}"
        done = weightgate("timestamp", "a.json", "--tsa-url", address, "--tsa-root", authority / "root.pem", "--json")
        assert done.code == 0, done.out
        assert (tmp_path / "a.json.tsr").exists()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both for making and for checking."""
    monkeypatch.setitem(__import__("sys").modules, "rfc3161_client", None)
    for call in (lambda: timestamps.build_request(b"x"), lambda: timestamps.check_reply(b"", b"", [], "x")):
        with pytest.raises(MissingExtraError) as caught:
            call()
        assert "weightgate[timestamps]" in caught.value.remedy
