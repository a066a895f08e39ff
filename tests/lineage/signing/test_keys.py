"""Keys: made once and never overwritten, read strictly, one signature form each."""

from __future__ import annotations

import hashlib
import stat
import sys
from pathlib import Path

import platformdirs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing import schemes
from weightgate.lineage.signing.key_files import PASSPHRASE, PASSPHRASE_FILE
from weightgate.lineage.signing.keys import (
    SigningKey,
    default_key,
    default_key_path,
    default_public_key,
    generate,
    load_private,
    load_public,
)
from weightgate.lineage.signing.schemes import KINDS, KeyKind

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(autouse=True)
def _no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSPHRASE, raising=False)
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SigningKey, Path]:
    """A key of either kind, and its file."""
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    return generate(path, request.param), path


def test_a_key_signs_and_its_public_half_verifies(pair: tuple[SigningKey, Path]) -> None:
    """The pair on disk is the pair in hand."""
    key, path = pair
    signature = load_private(path).sign(b"data")
    public = load_public(path.with_suffix(".pub"))
    public.verify(signature, b"data")
    assert public == key.public
    with pytest.raises(IntegrityError):
        public.verify(signature, b"date")


def test_the_key_id_is_the_digest_of_the_der_key(pair: tuple[SigningKey, Path]) -> None:
    """What `openssl pkey -pubin -outform DER | sha256sum` prints."""
    key, path = pair
    public = serialization.load_pem_public_key(path.with_suffix(".pub").read_bytes())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert key.key_id == "sha256:" + hashlib.sha256(der).hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_only_the_owner_may_read_the_private_half(pair: tuple[SigningKey, Path]) -> None:
    """Mode 0600, PKCS#8."""
    _, path = pair
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("existing", ["key.pem", "key.pub"])
def test_nothing_is_overwritten(existing: str, tmp_path: Path) -> None:
    """Where either file exists none is written."""
    (tmp_path / existing).write_text("precious")
    with pytest.raises(InputError, match="not overwritten"):
        generate(tmp_path / "key.pem")
    assert [file.name for file in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    """A link at the place of the key would send the secret elsewhere."""
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not overwritten"):
        generate(tmp_path / "key.pem")


def test_the_private_half_is_not_called_pub(tmp_path: Path) -> None:
    """Both halves would have one name."""
    with pytest.raises(InputError, match="suffix of the public half"):
        generate(tmp_path / "key.pub")


def test_an_unwritable_place_is_an_input_error(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        generate(tmp_path / "file" / "key.pem")


@pytest.mark.parametrize("kind", KINDS)
def test_passphrases(kind: KeyKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument or the environment; missing and wrong ones are told apart."""
    path = tmp_path / "key.pem"
    key = generate(path, kind, passphrase="right")
    assert b"ENCRYPTED" in path.read_bytes()
    with pytest.raises(InputError, match="no passphrase was given"):
        load_private(path)
    with pytest.raises(InputError, match="wrong passphrase"):
        load_private(path, "wrong")
    monkeypatch.setenv(PASSPHRASE, "right")
    assert load_private(path).key_id == key.key_id


def test_a_passphrase_for_a_plain_key_does_no_harm(tmp_path: Path) -> None:
    """The variable may be set for another key."""
    generate(tmp_path / "key.pem")
    load_private(tmp_path / "key.pem", "whatever")


def test_the_passphrase_is_taken_from_the_environment_when_making_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same variable makes and reads."""
    monkeypatch.setenv(PASSPHRASE, "secret")
    generate(tmp_path / "key.pem")
    load_private(tmp_path / "key.pem", "secret")


def test_the_wrong_half_is_said_so(tmp_path: Path) -> None:
    """A public key where a private one is wanted, and the other way round."""
    generate(tmp_path / "key.pem")
    with pytest.raises(InputError, match="a public key where a private key is needed"):
        load_private(tmp_path / "key.pub")
    with pytest.raises(InputError, match="a private key where a public key is needed"):
        load_public(tmp_path / "key.pem")


@pytest.mark.parametrize("other", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_other_schemes_are_refused(other: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, tmp_path: Path) -> None:
    """RSA and other curves say what is supported."""
    (tmp_path / "key.pem").write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "key.pub").write_bytes(
        other.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for load in (lambda: load_private(tmp_path / "key.pem"), lambda: load_public(tmp_path / "key.pub")):
        with pytest.raises(InputError, match="not supported") as caught:
            load()
        assert "Ed25519 or ECDSA P-256" in caught.value.remedy


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\x00", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_what_is_no_key_is_refused(content: bytes, tmp_path: Path) -> None:
    """Neither half can be read from it, and the file is named."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    for load in (load_private, load_public):
        with pytest.raises(InputError, match=str(path)):
            load(path)


def test_a_missing_key_is_an_input_error(tmp_path: Path) -> None:
    """With how to make one."""
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_private(tmp_path / "key.pem")
    assert "keygen" in caught.value.remedy


def test_the_key_does_not_show_itself(pair: tuple[SigningKey, Path]) -> None:
    """Its representation names no secret and no file."""
    assert "PRIVATE" not in repr(pair[0])


@given(st.binary(max_size=20))
def test_the_twin_of_an_ecdsa_signature_is_refused(data: bytes) -> None:
    """From (r, s) anyone can make (r, n - s) without the key; it does not verify, nor do other encodings."""
    key = SigningKey(ec.derive_private_key(7, ec.SECP256R1()))
    signature = key.sign(data)
    key.public.verify(signature, data)
    r, s = decode_dss_signature(signature)
    assert s <= ORDER // 2
    for forged in (encode_dss_signature(r, ORDER - s), signature + b"\0", b"\x30\x81" + signature[1:], b""):
        with pytest.raises(IntegrityError):
            key.public.verify(forged, data)


def test_the_default_key_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's configuration folder, on first use; afterwards it is that one."""
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda name: str(tmp_path / name))
    key = default_key()
    assert default_key_path() == tmp_path / "weightgate" / "key.pem"
    assert default_key().key_id == key.key_id == default_public_key().key_id


def test_the_passphrase_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line, whatever ends it; an empty or missing file and two sources at once are errors."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"right\r\nnote\n")
    monkeypatch.setenv(PASSPHRASE_FILE, str(secret))
    key = generate(tmp_path / "key.pem", "ml-dsa-65")
    assert load_private(tmp_path / "key.pem", "right").key_id == key.key_id
    assert load_private(tmp_path / "key.pem").key_id == key.key_id
    secret.write_bytes(b"\n")
    with pytest.raises(InputError, match="holds no passphrase"):
        load_private(tmp_path / "key.pem")
    secret.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load_private(tmp_path / "key.pem")
    monkeypatch.setenv(PASSPHRASE, "right")
    with pytest.raises(InputError, match="both"):
        load_private(tmp_path / "key.pem")


def test_a_library_without_ml_dsa_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cryptography` before release 48 has no such module: nothing is written, and the remedy names the release."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mldsa", raising=False)
    with pytest.raises(InputError, match="no ML-DSA") as caught:
        generate(tmp_path / "key.pem", "ml-dsa-65")
    assert "48" in caught.value.remedy
    assert not list(tmp_path.iterdir())
    assert schemes.kind_of(generate(tmp_path / "key.pem")._key) == "ed25519"


def test_ml_dsa_is_pure_and_of_the_size_of_fips_204(tmp_path: Path) -> None:
    """The message itself is signed, with an empty context: what any FIPS 204 verifier checks."""
    key = generate(tmp_path / "key.pem", "ml-dsa-65")
    signature = key.sign(b"data")
    assert len(signature) == 3309
    key.public.raw.verify(signature, b"data")
    for other in (b"tuf\x01" + hashlib.sha512(b"data").digest(), b"datA"):
        with pytest.raises(IntegrityError):
            key.public.verify(signature, other)
