"""Trust roots: TUF roots that any TUF implementation verifies, changed only by those who keep them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, Root

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey, generate
from weightgate.lineage.signing.schemes import KINDS
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.document import MAX_ROOT_BYTES
from weightgate.lineage.trust.folder import load_trust, open_draft, read_root_file, sign_draft, write_draft
from weightgate.lineage.trust.root import TrustRoot, document_bytes, read_root

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Keys = dict[str, SigningKey]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """One key of each scheme, then more."""
    at = tmp_path_factory.mktemp("keys")
    return {name: generate(at / f"{name}.pem", KINDS[number % 3]) for number, name in enumerate("abcdef")}


def start(folder: Path, keys: Keys, keepers: str = "abc", threshold: int = 2) -> TrustRoot:
    """A complete first version, with an approver."""
    root = edit.set_expiry(edit.new_root(NOW), NOW, 365)
    for name in keepers:
        root = edit.add_key(root, keys[name].public, "root", holder=name)
    root = edit.set_threshold(root, "root", threshold)
    write_draft(folder, edit.add_key(root, keys["d"].public, "safety", holder="d"))
    done = [sign_draft(folder, keys[name]) for name in keepers[:threshold]]
    assert done[-1].complete
    return done[-1].root


def test_python_tuf_verifies_a_root_and_its_rotation(keys: Keys, tmp_path: Path) -> None:
    """Signed in turn with Ed25519, P-256 and ML-DSA-65: read and verified by the library as any TUF root."""
    start(tmp_path, keys, "abc", threshold=3)
    write_draft(tmp_path, edit.remove_key(open_draft(tmp_path), keys["a"].key_id, now=NOW))
    with pytest.raises(InputError, match="asks for 3, and 2 hold"):
        sign_draft(tmp_path, keys["a"])
    write_draft(tmp_path, edit.set_threshold(open_draft(tmp_path), "root", 2))
    for name in "abc":
        done = sign_draft(tmp_path, keys[name])
    assert done.complete
    old, new = (Metadata[Root].from_bytes((tmp_path / f"{n}.root.json").read_bytes()) for n in (1, 2))
    old.signed.verify_delegate("root", old.signed_bytes, old.signatures)
    assert new.signed.get_root_verification_result(old.signed, new.signed_bytes, new.signatures).verified
    assert new.signed.version == 2


def test_a_rotation_needs_the_old_and_the_new_keepers(keys: Keys, tmp_path: Path) -> None:
    """Each threshold alone is not enough; what is still missing is said; the folder keeps the old root meanwhile."""
    start(tmp_path, keys, "ab", threshold=2)
    root = open_draft(tmp_path)
    for name in "ab":
        root = edit.remove_key(root, keys[name].key_id, "root", now=NOW)
    for name in "ce":
        root = edit.add_key(root, keys[name].public, "root", holder=name)
    write_draft(tmp_path, root)
    for name in "ce":
        half = sign_draft(tmp_path, keys[name])
        assert not half.complete
    assert half.missing == ("2 more signatures of version 1's keepers",)
    assert load_trust(tmp_path).version == 1
    assert sign_draft(tmp_path, keys["a"]).missing == ("1 more signature of version 1's keepers",)
    assert sign_draft(tmp_path, keys["b"]).complete
    assert load_trust(tmp_path).version == load_trust(tmp_path / "1.root.json").version == 2
    assert not (tmp_path / "draft.root.json").exists()


@pytest.mark.parametrize("signers", ["ce", "ab", "a", ""])
def test_a_version_that_too_few_signed_is_refused_by_verifiers(signers: str, keys: Keys, tmp_path: Path) -> None:
    """However it came into the folder: only both thresholds make it follow."""
    start(tmp_path, keys, "ab", threshold=2)
    root = open_draft(tmp_path)
    for name in "ab":
        root = edit.remove_key(root, keys[name].key_id, "root", now=NOW)
    for name in "ce":
        root = edit.add_key(root, keys[name].public, "root", holder=name)
    path = write_draft(tmp_path, root)
    for name in signers:
        sign_draft(tmp_path, keys[name])
    path.rename(tmp_path / "2.root.json")
    with pytest.raises(IntegrityError, match=r"2\.root\.json: signed by"):
        load_trust(tmp_path / "1.root.json")
    with pytest.raises(IntegrityError):
        load_trust(tmp_path)
    (tmp_path / "2.root.json").rename(tmp_path / "root.json")
    with pytest.raises(IntegrityError):
        load_trust(tmp_path)


def test_signing_on_different_machines(keys: Keys, tmp_path: Path) -> None:
    """In turn with the file alone, or in parallel and merged; a copy of another draft is not merged."""
    start(tmp_path / "home", keys, "abc", threshold=2)
    draft = write_draft(tmp_path / "home", edit.add_key(open_draft(tmp_path / "home"), keys["e"].public, "safety"))
    copies = []
    for name in "ab":
        copy = tmp_path / name / "draft.root.json"
        copy.parent.mkdir()
        copy.write_bytes(draft.read_bytes())
        done = sign_draft(copy, keys[name])
        assert not done.complete
        assert "1.root.json" in done.missing[-1]
        copies.append(copy)
    other = write_draft(tmp_path / "other", edit.add_key(open_draft(tmp_path / "home"), keys["f"].public, "safety"))
    with pytest.raises(InputError, match="another draft"):
        sign_draft(tmp_path / "home", None, (other,))
    assert sign_draft(tmp_path / "home", None, tuple(copies)).complete
    with pytest.raises(InputError, match="no draft"):
        sign_draft(tmp_path / "home", keys["a"])


def test_only_keepers_sign(keys: Keys, tmp_path: Path) -> None:
    """An approver has no say in the root; nor does a signature that does not verify count."""
    start(tmp_path, keys, "abc", threshold=2)
    path = write_draft(tmp_path, edit.set_threshold(open_draft(tmp_path), "root", 1))
    with pytest.raises(InputError, match="no key of the root role"):
        sign_draft(tmp_path, keys["d"])
    sign_draft(tmp_path, keys["a"])
    document = json.loads(path.read_bytes())
    document["signatures"].append({"keyid": keys["b"].key_id[7:], "sig": document["signatures"][0]["sig"]})
    path.write_text(json.dumps(document))
    assert sign_draft(tmp_path, keys["a"]).missing == ("1 more signature of version 1's keepers",)


def test_a_change_drops_the_signatures_of_the_draft(keys: Keys, tmp_path: Path) -> None:
    """They were over something else."""
    start(tmp_path, keys, "abc", threshold=2)
    write_draft(tmp_path, edit.set_threshold(open_draft(tmp_path), "root", 3))
    sign_draft(tmp_path, keys["a"])
    assert len(open_draft(tmp_path).document.signatures) == 1
    assert not edit.add_key(open_draft(tmp_path), keys["e"].public, "safety").document.signatures


def twice(root: TrustRoot, key: SigningKey, role: str) -> dict[str, Any]:
    """The document with one key under a second id, in a role."""
    document: dict[str, Any] = json.loads(document_bytes(root.document))
    first, second = key.key_id[7:], "f" * 64
    signed = document["signed"]
    signed["keys"][second] = signed["keys"][first]
    roles = signed["roles"] if role == "root" else signed["x-weightgate"]["roles"]
    roles[role]["keyids"].append(second)
    return document


def test_one_key_under_two_ids_counts_once(keys: Keys, tmp_path: Path) -> None:
    """securesystemslib counts it twice. As keeper: one signature under both ids is one. As approver: one key."""
    root = start(tmp_path, keys, "ab", threshold=2)
    document = twice(root, keys["a"], "root")
    again = read_root(json.dumps(document).encode(), "x")
    assert len(again.roles["root"].keys) == 2
    payload = again.payload
    signature = keys["a"].sign(payload).hex()
    document["signatures"] = [{"keyid": keyid, "sig": signature} for keyid in (keys["a"].key_id[7:], "f" * 64)]
    peer = Metadata[Root].from_dict(json.loads(json.dumps(document)))
    assert peer.signed.get_verification_result("root", payload, peer.signatures).verified  # what we must not believe
    (tmp_path / "two.json").write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="signed by 1 of the 2"):
        load_trust(tmp_path / "two.json")
    assert len(read_root(json.dumps(twice(root, keys["d"], "safety")).encode(), "x").roles["safety"].keys) == 1


def test_two_keys_of_one_holder_count_once(keys: Keys, tmp_path: Path) -> None:
    """People are counted, not keys; a threshold that they cannot reach is refused before anybody signs."""
    root = edit.set_expiry(edit.new_root(NOW), NOW, 1)
    for name in "ab":
        root = edit.add_key(root, keys[name].public, "root", holder="ann")
    write_draft(tmp_path, edit.set_threshold(root, "root", 2))
    with pytest.raises(InputError, match="asks for 2, and 1 hold"):
        sign_draft(tmp_path, keys["a"])


def test_a_revocation_is_for_ever(keys: Keys, tmp_path: Path) -> None:
    """The key cannot come back, and no later version can forget that it was revoked."""
    start(tmp_path, keys, "abc", threshold=2)
    write_draft(tmp_path, edit.remove_key(open_draft(tmp_path), keys["d"].key_id, revoke="lost", now=NOW))
    for name in "ab":
        done = sign_draft(tmp_path, keys[name])
    assert done.root.revoked[keys["d"].key_id].reason == "lost"
    with pytest.raises(InputError, match="was revoked"):
        edit.add_key(open_draft(tmp_path), keys["d"].public, "safety")
    document = json.loads(document_bytes(open_draft(tmp_path).document))
    document["signed"]["x-weightgate"]["revoked"] = {}
    (tmp_path / "draft.root.json").write_text(json.dumps(document))
    sign_draft(tmp_path, keys["a"])
    with pytest.raises(IntegrityError, match="takes back the revocation"):
        sign_draft(tmp_path, keys["b"])
    assert load_trust(tmp_path).version == 2


def test_a_key_has_one_role_unless_allowed(keys: Keys) -> None:
    """The root role is apart; forbidding is refused while a key has two."""
    root = edit.add_key(edit.new_root(NOW), keys["a"].public, "root")
    root = edit.add_key(root, keys["a"].public, "safety")
    with pytest.raises(InputError, match="one_role_per_key"):
        edit.add_key(root, keys["a"].public, "privacy")
    root = edit.add_key(edit.set_one_role_per_key(root, only=False), keys["a"].public, "privacy")
    with pytest.raises(InputError, match="one_role_per_key"):
        edit.set_one_role_per_key(root, only=True)


def test_changes_that_make_no_sense_are_refused(keys: Keys) -> None:
    """Each with one clear message, before anything is written."""
    root = edit.add_key(edit.new_root(NOW), keys["a"].public, "root")
    for change in (
        lambda: edit.add_key(root, keys["a"].public, "root"),
        lambda: edit.add_key(root, keys["b"].public, "targets"),
        lambda: edit.add_key(root, keys["b"].public, "Safety"),
        lambda: edit.add_key(root, keys["b"].public, "x" * 33),
        lambda: edit.add_key(root, keys["b"].public, "safety", threshold=101),
        lambda: edit.add_key(root, keys["b"].public, "signer", threshold=2),
        lambda: edit.set_threshold(root, "root", 0),
        lambda: edit.set_threshold(root, "nobody", 1),
        lambda: edit.remove_key(root, keys["b"].key_id, now=NOW),
        lambda: edit.remove_key(root, keys["a"].key_id, "root", revoke="x", now=NOW),
    ):
        with pytest.raises(InputError):
            change()


def mangle(document: dict[str, Any], path: str, value: object) -> bytes:
    """The document with another value at a dotted path."""
    node = document
    *steps, last = path.split("/")
    for step in steps:
        node = node[step]
    node[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("signed/roles/root/threshold", 0),
        ("signed/roles/root/threshold", -1),
        ("signed/roles/root/threshold", 1.0),
        ("signed/roles/root/threshold", True),
        ("signed/roles/root/threshold", "1"),
        ("signed/roles/root/threshold", 10**30),
        ("signed/roles/root/threshold", float("nan")),
        ("signed/roles/root/keyids", ["0" * 64]),
        ("signed/roles/root/keyids", None),
        ("signed/roles/extra", {"keyids": [], "threshold": 1}),
        ("signed/roles/targets", {"keyids": [], "threshold": 0}),
        ("signed/x-weightgate/roles/root", {"keyids": [], "threshold": 1}),
        ("signed/x-weightgate/roles/Über", {"keyids": [], "threshold": 1}),
        ("signed/x-weightgate/unknown", 1),
        ("signed/x-weightgate/second_signature", {"verdict": "rsa"}),
        ("signed/x-weightgate/one_role_per_key", "no"),
        ("signed/x-weightgate/holders", {"0" * 64: "x"}),
        ("signed/version", 0),
        ("signed/version", True),
        ("signed/expires", "never"),
        ("signed/expires", "2030-02-31T00:00:00Z"),
        ("signed/_type", "targets"),
        ("signed/spec_version", "2.0.0"),
        ("signed/keys", []),
        ("signed/keys/00", {}),
        ("signed", []),
        ("signatures", [{"keyid": "0" * 64, "sig": "zz"}]),
        ("signatures", [{"keyid": "0" * 64, "sig": ""}] * 2),
        ("extra", 1),
    ],
)
def test_hostile_roots_are_refused(path: str, value: object, keys: Keys, tmp_path: Path) -> None:
    """Unknown roles, thresholds that are no number from 1, odd types and times: one error that names the file."""
    root = start(tmp_path, keys)
    (tmp_path / "hostile.json").write_bytes(mangle(json.loads(root.to_bytes()), path, value))
    with pytest.raises(InputError, match=r"hostile\.json"):
        load_trust(tmp_path / "hostile.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"signed":{},"signed":{},"signatures":[]}',
        b" " * (MAX_ROOT_BYTES + 1),
        b'{"signed":NaN,"signatures":[]}',
    ],
)
def test_hostile_bytes_are_refused(data: bytes, tmp_path: Path) -> None:
    """No JSON, too deep, too large, keys given twice."""
    (tmp_path / "root.json").write_bytes(data)
    with pytest.raises(InputError, match=r"root\.json"):
        load_trust(tmp_path)


def test_hostile_keys_are_refused(keys: Keys, tmp_path: Path) -> None:
    """A scheme that does not fit the key, a curve that is not supported, and what is no key."""
    root = start(tmp_path, keys)
    (ed,) = (
        keyid
        for keyid, entry in root.document.signed.keys.items()
        if entry.scheme == "ed25519" and keyid == keys["a"].key_id[7:]
    )
    for change in (
        {"scheme": "ecdsa-sha2-nistp256"},
        {"keytype": "ecdsa"},
        {"keyval": {"public": "00"}},
        {"keyval": {"public": "x"}},
        {"x": 1},
    ):
        document = json.loads(root.to_bytes())
        document["signed"]["keys"][ed] |= change
        with pytest.raises(InputError):
            read_root(json.dumps(document).encode(), "x")


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_never_crash_the_reader(data: bytes) -> None:
    """Whatever they are, one error of ours."""
    with pytest.raises(InputError):
        read_root(data, "x")


def test_a_missing_root_says_how_to_make_one(tmp_path: Path) -> None:
    """No traceback, a remedy."""
    for call in (lambda: load_trust(tmp_path), lambda: open_draft(tmp_path), lambda: read_root_file(tmp_path / "x")):
        with pytest.raises(InputError) as caught:
            call()
        assert "trust init" in caught.value.remedy


def test_the_time_of_expiry(keys: Keys, tmp_path: Path) -> None:
    """In UTC, to the second."""
    assert start(tmp_path, keys).expires == NOW + timedelta(days=365)
