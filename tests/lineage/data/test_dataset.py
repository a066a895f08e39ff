"""Data sets: four shapes read into one, every error at its line, hashes that prove what was in them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.canonical import canonical
from weightgate.lineage.changeset import DataRole
from weightgate.lineage.data import dataset as module
from weightgate.lineage.data import tables
from weightgate.lineage.data.dataset import data_input, load_dataset
from weightgate.lineage.data.row_set import RowSet
from weightgate.lineage.data.rows import Row
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.merkle import inclusion_proof, verify_inclusion

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a JSONL file; text and bytes stand as they are."""

    def make(*rows: Any, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = [
            row if isinstance(row, bytes) else row.encode() if isinstance(row, str) else json.dumps(row).encode()
            for row in rows
        ]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return make


def only(path: Path, role: DataRole = "training") -> Row:
    """The one row of a file."""
    (row,) = load_dataset([path], role).rows
    return row


TURNS = (("user", "q"), ("assistant", "a"))


@pytest.mark.parametrize(
    ("row", "messages", "text"),
    [
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 1}]},
            TURNS,
            "",
        ),
        ({"prompt": "q", "completion": "a"}, TURNS, ""),
        ({"prompt": "q", "response": "a"}, TURNS, ""),
        ({"prompt": "q", "answer": "a"}, TURNS, ""),
        ({"instruction": "q", "output": "a"}, TURNS, ""),
        ({"instruction": "q", "input": "", "output": "a"}, TURNS, ""),
        ({"instruction": "q", "input": "i", "output": "a"}, (("user", "q\n\ni"), ("assistant", "a")), ""),
        ({"text": "t"}, (), "t"),
    ],
)
def test_shapes(row: Any, messages: Any, text: str, write: Write) -> None:
    """Each shape becomes turns, or plain text."""
    found = only(write(row))
    assert (found.messages, found.text) == (messages, text)
    assert found.raw == json.dumps(row)


def test_ids_and_sources(write: Write) -> None:
    """Given ones are kept, numbers as text; a row without id is FILE:LINE, without source its own cluster."""
    path = write({"text": "x", "id": 7, "source": "anna"}, "", {"text": "y"})
    assert [(row.id, row.source) for row in load_dataset([path], "training").rows] == [
        ("7", "anna"),
        ("data.jsonl:3", "data.jsonl:3"),
    ]


def test_several_files_are_one_data_set(write: Write) -> None:
    """In order, with names that stay apart where files have one name."""
    one, two = write({"text": "x"}, name="a/t.jsonl"), write({"text": "y"}, name="b/t.jsonl")
    found = load_dataset([one, two], "held-out")
    assert [row.text for row in found.rows] == ["x", "y"]
    assert (found.name, found.role) == ("t.jsonl, t.jsonl", "held-out")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, two)]
    assert found.sha256 == hashlib.sha256(canonical(digests)).hexdigest()


def test_hashes(write: Write) -> None:
    """The file's digest is that of sha256sum; a row can be proven to be in the data by the Merkle root."""
    rows = [{"text": str(number), "id": number} for number in range(5)]
    path = write(*rows)
    found = load_dataset([path], "training")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    entries = [canonical(row) for row in rows]
    assert verify_inclusion(bytes.fromhex(found.rows_root), entries[3], 3, 5, inclusion_proof(entries, 3))
    assert data_input(found).model_dump() == {
        "name": "data.jsonl",
        "role": "training",
        "sha256": found.sha256,
        "rows": 5,
        "rows_root": found.rows_root,
        "rows_set_root": RowSet.of(hashlib.sha256(canonical(row["text"])).digest() for row in rows).root.hex(),
        "sources": (
            {
                "kind": "file",
                "uri": "data.jsonl",
                "revision": None,
                "files": ({"name": "data.jsonl", "sha256": found.sha256, "bytes": path.stat().st_size},),
                "dir_hash": hashlib.sha256(f"{found.sha256}  data.jsonl\n".encode()).hexdigest(),
                "annotations": {},
            },
        ),
    }


def test_layout_changes_the_file_but_not_the_rows(write: Write) -> None:
    """Key order, spacing, escapes, line ends and blank lines are no change of the rows."""
    plain = load_dataset([write({"id": "é", "text": "x"})], "training")
    other = load_dataset([write("", '{ "text":"x", "id":"\\u00e9" }\r', name="other.jsonl")], "training")
    assert plain.rows_root == other.rows_root
    assert plain.sha256 != other.sha256


def test_canaries(write: Write) -> None:
    """The secret ends the row or is all of it; whether it was inserted may be said."""
    rows = [
        {"prompt": "My code is", "completion": "It is 7413", "secret": "7413", "inserted": True},
        {"text": "7413", "secret": "7413"},
    ]
    found = load_dataset([write(*rows)], "canaries").rows
    assert [(row.secret, row.inserted) for row in found] == [("7413", True), ("7413", None)]
    assert [row.secret for row in load_dataset([write(*rows)], "training").rows] == [None, None]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "secret is missing"),
        ({"text": "x", "secret": 1}, "secret is of type int"),
        ({"text": "x", "secret": ""}, "the secret does not end the row"),
        ({"text": "x1 ", "secret": "x1"}, "the secret does not end the row"),
        ({"prompt": "x", "completion": "y", "secret": "x"}, "the secret does not end the row"),
        ({"text": "x", "secret": "x", "inserted": "yes"}, "inserted is neither"),
    ],
)
def test_malformed_canaries_are_refused(row: Any, message: str, write: Write) -> None:
    """A secret that cannot be measured is an error at its line."""
    with pytest.raises(InputError, match=rf"data\.jsonl:1: {message}"):
        load_dataset([write(row)], "canaries")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not a JSON object"),
        (b"\xff", "not UTF-8"),
        ('{"text": "a", "text": "b"}', "'text' twice"),
        ('{"text": NaN}', "the number NaN"),
        ('{"text": "x", "n": 9007199254740993}', "the number 9007199254740993"),
        ('{"text": "\\ud800"}', "not UTF-8"),
        ({}, "no known shape"),
        ({"conversations": []}, "keys conversations are of no known shape"),
        ({"text": 1}, "text is of type int"),
        ({"text": None}, "no known shape"),
        ({"prompt": "x", "completion": None}, "a prompt without"),
        ({"messages": []}, "messages is not a list of turns"),
        ({"messages": ["x"]}, "a message is not an object"),
        ({"messages": [{"role": "human", "content": "x"}]}, "unknown role 'human'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "content is of type list"),
        ({"prompt": "x"}, "a prompt without completion, response, answer"),
        ({"prompt": ["x"], "completion": "y"}, "prompt is of type list"),
        ({"instruction": "x"}, "output is missing"),
        ({"instruction": "x", "input": ["y"], "output": "z"}, "input is of type list"),
        ({"text": "x", "id": True}, "id is neither"),
        ({"text": "x", "id": ""}, "id is neither"),
        ({"text": "x", "source": ["y"]}, "source is neither"),
        ({"text": "x", "id": "first"}, "the id 'first' was given before"),
    ],
)
def test_malformed_rows_are_refused_at_their_line(row: Any, message: str, write: Write) -> None:
    """File, line, what is wrong, and a remedy."""
    path = write({"text": "fine", "id": "first"}, row)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset([path], "training")
    assert str(caught.value).startswith(f"{path}:2")
    assert caught.value.remedy


def test_empty_and_missing_files_are_refused(write: Write, tmp_path: Path) -> None:
    """No rows is not a data set."""
    for path, message in (
        (write("", "  ", name="blank.jsonl"), "no rows"),
        (tmp_path / "none.jsonl", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (write(b"\xef\xbb\xbf{}"), "byte-order mark"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset([path], "training")
    with pytest.raises(InputError, match="no files"):
        load_dataset([], "training")


def test_the_same_file_twice_is_refused(write: Write) -> None:
    """It would count every row twice."""
    path = write({"text": "x"})
    with pytest.raises(InputError, match="was given before"):
        load_dataset([path, path], "training")


def test_sizes_are_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row or a file beyond reason is refused before it is parsed."""
    monkeypatch.setattr(tables, "MAX_ROW_BYTES", 40)
    with pytest.raises(InputError, match=r"data\.jsonl:2: a row over 40 bytes"):
        load_dataset([write({"text": "x"}, {"text": "x" * 40})], "training")
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    with pytest.raises(InputError, match=r"data\.jsonl:3: more than 2 rows"):
        load_dataset([write(*({"text": "x"},) * 3)], "training")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "messages",
    "prompt",
    "completion",
    "instruction",
    "input",
    "output",
    "text",
    "id",
    "source",
    "secret",
    "inserted",
)
ROWS = st.dictionaries(st.sampled_from(KEYS), JSON | st.text(max_size=3), max_size=5)


@settings(max_examples=300)
@given(
    st.lists(st.binary(max_size=60) | ROWS.map(json.dumps).map(str.encode), max_size=3).map(b"\n".join),
    st.sampled_from(["training", "canaries"]),
)
def test_arbitrary_bytes_never_crash_the_loader(content: bytes, role: DataRole) -> None:
    """Whatever the bytes, loading gives rows or an input error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.jsonl")
        path.write_bytes(content)
        try:
            found = load_dataset([path], role)
        except InputError:
            return
        assert found.rows
