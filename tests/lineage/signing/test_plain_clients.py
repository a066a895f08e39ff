"""A changeset and the line of it beside a model verify with nothing but OpenSSL and coreutils."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from weightgate.lineage.changeset import build_changeset, statement
from weightgate.lineage.signing.claims import claim_line
from weightgate.lineage.signing.envelope import IN_TOTO, sign
from weightgate.lineage.signing.keys import KeyKind, generate
from weightgate.lineage.weights.update import open_update

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")


def pae(document: dict[str, str]) -> bytes:
    """DSSE's encoding (protocol.md), written from the specification: types and lengths as text, spaces between."""
    body = base64.b64decode(document["payload"])
    kind = document["payloadType"].encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body])


def openssl_accepts(folder: Path, kind: str, public: Path, signed: bytes, signature: bytes) -> bool:
    """Whether OpenSSL says that the signature is good."""
    (folder / "pae.bin").write_bytes(signed)
    (folder / "sig.bin").write_bytes(signature)
    files = ["-in", str(folder / "pae.bin")]
    command = {
        "ecdsa-p256": ["dgst", "-sha256", "-verify", str(public), "-signature", str(folder / "sig.bin"), files[1]],
        "ed25519": [
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            str(public),
            "-sigfile",
            f"{folder}/sig.bin",
            *files,
        ],
    }[kind]
    return subprocess.run(["openssl", *command], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])
def test_openssl_verifies_a_changeset(kind: KeyKind, model_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The envelope of a run and the same statement as a claim; one changed bit of payload or type is refused."""
    key = generate(tmp_path / "key.pem", kind)
    changeset = build_changeset(
        open_update(model_folder("a"), model_folder("b")),
        author=key.key_id,
        intent="é",
        created="2030-01-01T00:00:00Z",
        inputs=(),
        parent_changeset=None,
        environment={},
        parent_name="a",
        child_name="b",
    )
    envelope = sign(statement(changeset), key)
    document = json.loads(envelope.to_bytes())
    claim = json.loads(claim_line(envelope))["dsseEnvelope"]
    for found in (document, claim):
        signature = base64.b64decode(found["signatures"][0]["sig"])
        signed = pae(found)
        assert found["payloadType"] == IN_TOTO
        assert openssl_accepts(tmp_path, kind, tmp_path / "key.pub", signed, signature)
        for place in (7, 20, len(signed) - 1):
            changed = bytearray(signed)
            changed[place] ^= 1
            assert not openssl_accepts(tmp_path, kind, tmp_path / "key.pub", bytes(changed), signature)
