"""Envelopes: the vector of the specification, and no byte that can change unnoticed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing import envelope as envelope_module
from weightgate.lineage.signing.envelope import IN_TOTO, Envelope, pae, read_envelope, sign, verify
from weightgate.lineage.signing.keys import SigningKey

# The test vector of DSSE 1.0 (secure-systems-lab/dsse, protocol.md).
TYPE, BODY = "http://example.com/HelloWorld", b"hello world"
PRIVATE = 97358161215184420915383655311931858321456579547487070936769975997791359926199
SIGNATURE = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")

KEYS = {
    "ed25519": SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32)))),
    "ecdsa": SigningKey(ec.derive_private_key(PRIVATE, ec.SECP256R1())),
}


def test_the_pre_authentication_encoding_is_that_of_the_specification() -> None:
    """The published encoding of the published body."""
    assert pae(TYPE, BODY) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_signature_of_the_specification_verifies() -> None:
    """The published raw (r, s), written as DER, verifies under the published key."""
    r, s = (int.from_bytes(half, "big") for half in (SIGNATURE[:32], SIGNATURE[32:]))
    KEYS["ecdsa"].public.verify(encode_dss_signature(r, s), pae(TYPE, BODY))


@given(st.text(max_size=9), st.binary(max_size=9), st.text(max_size=9), st.binary(max_size=9))
def test_the_encoding_is_injective(kind: str, body: bytes, other_kind: str, other_body: bytes) -> None:
    """Two different statements are never signed as the same bytes; lengths are those of the UTF-8 form."""
    same = (kind, body) == (other_kind, other_body)
    assert (pae(kind, body) == pae(other_kind, other_body)) == same


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@given(payload=st.binary(max_size=200))
def test_what_is_signed_comes_back(key: SigningKey, payload: bytes) -> None:
    """Through the file form and the signature check."""
    assert verify(read_envelope(sign(payload, key).to_bytes()), key.public) == payload


def test_the_file_form_is_a_dsse_envelope(tmp_path: Path) -> None:
    """Any JSON reader finds payload, type and signature where DSSE puts them; a path reads like bytes."""
    envelope = sign(b"{}", KEYS["ed25519"])
    document = json.loads(envelope.to_bytes())
    assert document["payloadType"] == IN_TOTO
    assert base64.b64decode(document["payload"]) == b"{}"
    assert document["signatures"] == [
        {"keyid": KEYS["ed25519"].key_id, "sig": base64.b64encode(envelope.signature).decode()}
    ]
    (tmp_path / "x.json").write_bytes(envelope.to_bytes())
    assert read_envelope(tmp_path / "x.json") == envelope


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_no_single_byte_can_change(key: SigningKey) -> None:
    """Each byte of a small envelope, replaced by its neighbour, its other case, a space and more: all refused."""
    content = sign(b'{"a":1}', key).to_bytes()
    assert verify(read_envelope(content), key.public)
    for at, byte in enumerate(content):
        for other in {byte ^ 1, byte ^ 2, byte ^ 0x20, byte ^ 0x80, 0x20, 0x0A, 0x3D} - {byte}:
            with pytest.raises(IntegrityError):
                verify(read_envelope(content[:at] + bytes([other]) + content[at + 1 :]), key.public)


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(KEYS)),
    st.binary(max_size=40),
    st.integers(0),
    st.sampled_from(["replace", "insert", "delete"]),
    st.binary(min_size=1, max_size=3),
)
def test_no_edit_goes_unnoticed(name: str, payload: bytes, position: int, edit: str, data: bytes) -> None:
    """Bytes replaced, inserted or deleted anywhere in any envelope: it no longer verifies."""
    key = KEYS[name]
    content = sign(payload, key).to_bytes()
    at = position % len(content)
    tail = content[at + (0 if edit == "insert" else len(data)) :]
    edited = content[:at] + (b"" if edit == "delete" else data) + tail
    if edited == content:
        return
    with pytest.raises(IntegrityError):
        verify(read_envelope(edited), key.public)


@settings(max_examples=300)
@given(st.binary(max_size=100) | st.text(max_size=50).map(str.encode))
def test_arbitrary_bytes_never_crash_the_reader(content: bytes) -> None:
    """Whatever the bytes, they are refused as an integrity error."""
    with pytest.raises(IntegrityError):
        read_envelope(content)


GOOD = json.loads(sign(b"{}", KEYS["ed25519"]).to_bytes())
MALFORMED: list[Any] = [
    [],
    {},
    {**GOOD, "extra": 1},
    {**GOOD, "payload": GOOD["payload"].rstrip("=")},
    {**GOOD, "payload": "e31="},
    {**GOOD, "payload": 7},
    {**GOOD, "payload": "é"},
    {**GOOD, "payloadType": 7},
    {**GOOD, "signatures": []},
    {**GOOD, "signatures": GOOD["signatures"] * 2},
    {**GOOD, "signatures": "x"},
    {**GOOD, "signatures": [{"sig": "AA=="}]},
    {**GOOD, "signatures": [{**GOOD["signatures"][0], "extra": 1}]},
]


@pytest.mark.parametrize("document", MALFORMED)
def test_other_documents_are_refused(document: Any) -> None:
    """Unknown or missing keys, other types, base64 with stray bits or without padding, none or two signatures."""
    content = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() + b"\n"
    with pytest.raises(IntegrityError):
        verify(read_envelope(content), KEYS["ed25519"].public)


def test_a_key_given_twice_is_refused() -> None:
    """Two readers could take different ones."""
    content = sign(b"{}", KEYS["ed25519"]).to_bytes().replace(b'{"payload"', b'{"payload":"e30=","payload"')
    with pytest.raises(IntegrityError):
        read_envelope(content)


def test_another_signer_is_refused() -> None:
    """By the key id, and by the signature where the key id is forged."""
    envelope = sign(b"{}", KEYS["ecdsa"])
    with pytest.raises(IntegrityError, match="signed by sha256:"):
        verify(envelope, KEYS["ed25519"].public)
    forged = Envelope(envelope.payload, IN_TOTO, KEYS["ed25519"].key_id, envelope.signature)
    with pytest.raises(IntegrityError, match="does not belong"):
        verify(forged, KEYS["ed25519"].public)


def test_another_payload_type_is_refused() -> None:
    """A signature over something that is no statement does not count as one."""
    key = KEYS["ed25519"]
    envelope = Envelope(BODY, TYPE, key.key_id, key.sign(pae(TYPE, BODY)))
    with pytest.raises(IntegrityError, match="payload type"):
        verify(envelope, key.public)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    """Nothing there is not tampering."""
    with pytest.raises(InputError, match="cannot be read"):
        read_envelope(tmp_path / "x.json")


def test_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file far beyond any statement is not read into memory."""
    (tmp_path / "x.json").write_bytes(b" " * 100)
    monkeypatch.setattr(envelope_module, "MAX_ENVELOPE_BYTES", 99)
    with pytest.raises(IntegrityError, match="over 99 bytes"):
        read_envelope(tmp_path / "x.json")
