"""Keys behind a command: what it answers is checked, what goes wrong names it, and no shell is involved."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import read_envelope, sign, verify
from weightgate.lineage.signing.key_files import PASSPHRASE
from weightgate.lineage.signing.keys import SigningKey, generate, load_private
from weightgate.lineage.signing.oms_keys import load_signing_key
from weightgate.lineage.signing.schemes import KINDS, KeyKind

SIGNER = """
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
data = sys.stdin.buffer.read()
scheme = [ec.ECDSA(hashes.SHA256())] if isinstance(key, ec.EllipticCurvePrivateKey) else []
sys.stdout.buffer.write(key.sign(data, *scheme))
"""


def command(folder: Path, words: list[str], timeout: float = 30, public: str = "key.pub") -> Path:
    """A key file that names a command."""
    path = folder / "signer.yaml"
    quoted = ", ".join("'" + word.replace("'", "''") + "'" for word in words)
    path.write_text(f"command: [{quoted}]\npublic_key: {public}\ntimeout_seconds: {timeout}\n")
    return path


def script(folder: Path, code: str) -> str:
    """A Python program."""
    (folder / "program.py").write_text(code)
    return str(folder / "program.py")


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_signs_in_every_scheme(kind: KeyKind, tmp_path: Path) -> None:
    """Its envelope verifies under the public key alone; ECDSA with high s, as a KMS may answer, is brought to low s."""
    key = generate(tmp_path / "key.pem", kind)
    signer = load_private(command(tmp_path, [sys.executable, script(tmp_path, SIGNER), str(tmp_path / "key.pem")]))
    assert signer.key_id == key.key_id
    for number in range(3):
        envelope = sign(b'{"n":%d}' % number, signer)
        assert verify(read_envelope(envelope.to_bytes()), key.public) == envelope.payload


def test_openssl_can_be_the_signer(tmp_path: Path) -> None:
    """A real program from elsewhere, for audits and for model signatures."""
    key = generate(tmp_path / "key.pem", "ecdsa-p256")
    path = command(tmp_path, ["openssl", "dgst", "-sha256", "-sign", str(tmp_path / "key.pem")])
    key.public.verify(load_private(path).sign(b"data"), b"data")
    model = load_signing_key(path)
    model.public.verify(model.sign(b"data"), b"data")


def test_a_relative_command_is_looked_up_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever folder one works in; and it does not see our passphrase."""
    key = generate(tmp_path / "key.pem")
    program = tmp_path / "signer"
    program.write_text(f"#!{sys.executable}\nimport os\nassert {PASSPHRASE!r} not in os.environ{SIGNER}")
    program.chmod(0o700)
    path = command(tmp_path, ["./signer", str(tmp_path / "key.pem")])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv(PASSPHRASE, "secret")
    key.public.verify(load_private(Path("..") / path.name).sign(b"data"), b"data")


@pytest.mark.parametrize(
    ("code", "error", "why"),
    [
        ("import sys; sys.exit('no such key')", InputError, "exit code 1: no such key"),
        ("", InputError, "wrote no signature"),
        ("print('x' * 200000)", InputError, "over 100000 bytes"),
        ("print('x' * 64)", IntegrityError, "is no ed25519 signature"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", InputError, "exit code -15"),
    ],
)
def test_a_command_that_fails_is_named(code: str, error: type[Exception], why: str, tmp_path: Path) -> None:
    """Exit code and complaint, no answer, too long an answer, and a wrong signature."""
    generate(tmp_path / "key.pem")
    signer = load_private(command(tmp_path, [sys.executable, script(tmp_path, code)]))
    with pytest.raises(error, match=why) as caught:
        signer.sign(b"data")
    assert "program.py" in str(caught.value)


def test_a_signature_by_another_key_is_refused(tmp_path: Path) -> None:
    """The public key that the file names decides, for audits and for models."""
    generate(tmp_path / "key.pem", "ecdsa-p256")
    generate(tmp_path / "other.pem", "ecdsa-p256")
    path = command(tmp_path, [sys.executable, script(tmp_path, SIGNER), str(tmp_path / "other.pem")])
    for signer in (load_private(path), load_signing_key(path)):
        with pytest.raises(IntegrityError, match="signing command"):
            signer.sign(b"data")


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """After the time that its file gives it."""
    generate(tmp_path / "key.pem")
    code = (
        "import os, pathlib, time\npathlib.Path(__file__).with_suffix('.pid').write_text(str(os.fork() or os.getpid()))"
    )
    signer = load_private(command(tmp_path, [sys.executable, script(tmp_path, code + "\ntime.sleep(60)")], timeout=0.5))
    started = time.monotonic()
    with pytest.raises(InputError, match=r"no answer within 0\.5 s"):
        signer.sign(b"data")
    assert time.monotonic() - started < 20
    if Path("/proc").is_dir() and (tmp_path / "program.pid").exists():
        pid = int((tmp_path / "program.pid").read_text())
        time.sleep(0.2)
        state = Path(f"/proc/{pid}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    """What would be a second command for a shell is an argument."""
    generate(tmp_path / "key.pem")
    path = command(tmp_path, ["echo", f"; touch {tmp_path}/made", "$(touch made)"])
    with pytest.raises(IntegrityError):
        load_private(path).sign(b"data")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "command: ./sign\npublic_key: key.pub",
        "command: []\npublic_key: key.pub",
        "command: [x]",
        "command: [x]\npublic_key: key.pub\nshell: true",
        "command: [x]\npublic_key: key.pub\ntimeout_seconds: .nan",
        "command: [x]\npublic_key: key.pub\ntimeout_seconds: 0",
        "command: [x]\npublic_key: missing.pub",
        "command: [x]\ncommand: [y]\npublic_key: key.pub",
        "command: [x]\npublic_key: key.pem",
    ],
)
def test_other_key_files_are_refused(text: str, tmp_path: Path) -> None:
    """Each with the file named."""
    generate(tmp_path / "key.pem")
    (tmp_path / "signer.yaml").write_text(text)
    with pytest.raises(InputError):
        load_private(tmp_path / "signer.yaml")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """It is named."""
    generate(tmp_path / "key.pem")
    with pytest.raises(InputError, match=r"nowhere-to-be-found.* cannot be started"):
        load_private(command(tmp_path, ["nowhere-to-be-found"])).sign(b"data")


def test_a_key_is_not_called_like_a_command_file(tmp_path: Path) -> None:
    """It could not be read again."""
    with pytest.raises(InputError, match="suffix of files that name a signing command"):
        generate(tmp_path / "key.yaml")


def test_the_representation_shows_no_secret(tmp_path: Path) -> None:
    """Command lines may carry tokens."""
    generate(tmp_path / "key.pem")
    assert "token" not in repr(load_private(command(tmp_path, ["sign", "--token=1"])))
    assert isinstance(load_private(tmp_path / "signer.yaml"), SigningKey)
