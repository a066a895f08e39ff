"""Changesets: an in-toto statement that reads back exactly, and nothing else does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weightgate.lineage.canonical import canonical
from weightgate.lineage.changeset import Changeset, DataInput, build_changeset, read_changeset, statement
from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import SigningKey
from weightgate.lineage.weights.update import Update, open_update

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
INPUT = DataInput(name="train.jsonl", role="training", sha256="00" * 32, rows=3, rows_root="11" * 32)


@pytest.fixture
def update(model_folder: Callable[..., Path]) -> Update:
    """A parent, and a child with another norm weight."""
    child = model_folder("b")
    content = bytearray((child / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (child / "model.safetensors").write_bytes(content)
    return open_update(model_folder("a"), child)


@pytest.fixture
def changeset(update: Update) -> Changeset:
    """Its changeset."""
    return build_changeset(
        update,
        author=KEY.key_id,
        intent="Répondre en français",
        created="2025-01-01T00:00:00Z",
        inputs=[INPUT],
        parent_changeset="22" * 32,
        environment={"python": "3.11"},
        parent_name="v1",
        child_name="v2",
    )


def test_it_states_what_was_found(changeset: Changeset, update: Update) -> None:
    """Both sides by digest, the delta, the inputs and the link."""
    assert (changeset.parent.name, changeset.parent.root) == ("v1", update.parent_fingerprint.root)
    assert (changeset.child.name, changeset.child.root) == ("v2", update.child_fingerprint.root)
    assert changeset.delta == update.delta
    assert changeset.inputs == (INPUT,)
    assert changeset.parent_changeset == "22" * 32


def test_it_is_an_in_toto_statement_about_the_child(changeset: Changeset) -> None:
    """Statement v1 with one subject, named and digested as the child."""
    document = json.loads(statement(changeset))
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://weightgate.dev/attestation/changeset/v1"
    assert document["subject"] == [{"name": "v2", "digest": {"sha256": changeset.child.root}}]
    assert document["predicate"]["intent"] == "Répondre en français"


def test_it_reads_back_exactly(changeset: Changeset) -> None:
    """Signed and read: the same changeset, and the digest of the payload that children refer to."""
    payload = statement(changeset)
    assert read_changeset(sign(payload, KEY).to_bytes(), KEY.public) == (changeset, hashlib.sha256(payload).hexdigest())


def edited(changeset: Changeset, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    """The statement after an edit of its JSON, canonical again."""
    document = json.loads(statement(changeset))
    edit(document)
    return canonical(document)


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda document: document.update(predicateType="https://example.com/other"),
        lambda document: document.update(extra=1),
        lambda document: document.pop("predicate"),
        lambda document: document["subject"][0].update(name="other"),
        lambda document: document["subject"][0]["digest"].update(sha256="00" * 32),
        lambda document: document["subject"].append(document["subject"][0]),
        lambda document: document["predicate"].update(extra=1),
        lambda document: document["predicate"].update(version="2"),
        lambda document: document["predicate"].pop("intent"),
        lambda document: document["predicate"]["delta"].update(tensors_total="5"),
        lambda document: document["predicate"].update(author="sha256:" + "00" * 32),
    ],
)
def test_another_statement_is_refused_though_signed(
    edit: Callable[[dict[str, Any]], Any], changeset: Changeset
) -> None:
    """Fields added, dropped, retyped or contradicting each other, and an author who is not the signer."""
    with pytest.raises(IntegrityError):
        read_changeset(sign(edited(changeset, edit), KEY).to_bytes(), KEY.public)


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b'{"predicate": {}}'])
def test_other_payloads_are_refused_though_signed(payload: bytes) -> None:
    """A good signature does not make a changeset."""
    with pytest.raises(IntegrityError):
        read_changeset(sign(payload, KEY).to_bytes(), KEY.public)


def test_another_layout_is_refused_though_signed(changeset: Changeset) -> None:
    """The digest that children refer to is that of one exact text."""
    payload = json.dumps(json.loads(statement(changeset)), indent=1).encode()
    with pytest.raises(IntegrityError, match="exact"):
        read_changeset(sign(payload, KEY).to_bytes(), KEY.public)
