"""Signed notes and checkpoints against the examples of their specifications."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.checkpoint import Checkpoint, read_checkpoint
from weightgate.lineage.history.note import NoteKey, open_note, parse_vkey, sign_note
from weightgate.lineage.signing.keys import generate
from weightgate.lineage.signing.schemes import KeyKind

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZ"
    "XsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
"""The example of https://c2sp.org/signed-note."""


def test_the_specifications_example_verifies() -> None:
    """Key id, vkey and signature of the published example."""
    key = parse_vkey(VKEY)
    assert key.vkey == VKEY
    assert open_note(NOTE, [key]).text == "This is an example message.\n"


def test_every_byte_of_the_example_counts() -> None:
    """No single byte can change: the text, the name, the id and the signature are all bound."""
    key = parse_vkey(VKEY)
    for at in range(len(NOTE)):
        for mask in (1, 0x80):
            changed = bytearray(NOTE)
            changed[at] ^= mask
            with pytest.raises(IntegrityError):
                open_note(bytes(changed), [key])


def test_an_unknown_signature_is_passed_over_and_a_known_bad_one_is_not() -> None:
    """Others may sign too; a signature of a known key that fails makes the whole note worthless."""
    key = parse_vkey(VKEY)
    other = "\u2014 witness.example AAAAAAAA\n".encode()
    assert open_note(NOTE + other, [key]).signers == (key,)
    bad = "\u2014 example.com/foo Uw2QOgAA\n".encode()
    with pytest.raises(IntegrityError, match="does not belong"):
        open_note(NOTE + bad, [key])
    with pytest.raises(IntegrityError, match="none of the keys"):
        open_note(NOTE, [])


@pytest.mark.parametrize("vkey", ["", "a+b", VKEY.replace("foo", "bar"), VKEY[:-1] + "l", "x y+00000000+AQ=="])
def test_hostile_verifier_keys_are_one_error(vkey: str) -> None:
    """A line that is no key, or whose id is not that of its name and key."""
    with pytest.raises(InputError):
        parse_vkey(vkey)


@pytest.mark.parametrize("kind", get_args(KeyKind))
def test_every_scheme_signs_checkpoints(tmp_path: Path, kind: KeyKind) -> None:
    """All keys that sign audits can sign the log, and their vkey says which scheme it is."""
    key = generate(tmp_path / "key.pem", kind)
    public = NoteKey("example.com/log", key.public)
    assert parse_vkey(public.vkey) == public or parse_vkey(public.vkey).vkey == public.vkey
    head = Checkpoint("example.com/log", 7, bytes(32))
    signed = head.sign(key)
    assert read_checkpoint(signed, "example.com/log", [parse_vkey(public.vkey)]) == head
    with pytest.raises(IntegrityError, match="of the log"):
        read_checkpoint(signed, "example.com/other", [public])


@pytest.mark.parametrize(
    "text",
    [
        "example.com/log\n07\n" + "A" * 43 + "=\n",
        "example.com/log\n7\nAAAA\n",
        "example.com/log\n7\n" + "A" * 43 + "=\nextension\n",
        "example.com/log\n-1\n" + "A" * 43 + "=\n",
        "example.com/log\n7\n",
        "example.com/log\n99999999999999999999\n" + "A" * 43 + "=\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    """A good signature over something else is not a checkpoint."""
    key = generate(tmp_path / "key.pem")
    with pytest.raises(IntegrityError):
        read_checkpoint(
            sign_note(text, "example.com/log", key), "example.com/log", [NoteKey("example.com/log", key.public)]
        )


def test_texts_and_names_that_notes_cannot_have(tmp_path: Path) -> None:
    """Control characters, a missing newline, or a plus or space in the name."""
    key = generate(tmp_path / "key.pem")
    for text, name in (("no newline", "a"), ("bell\a\n", "a"), ("fine\n", "a b"), ("fine\n", "a+b"), ("fine\n", "")):
        with pytest.raises(InputError):
            sign_note(text, name, key)
