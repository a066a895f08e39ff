"""JSONL, CSV and Parquet: the same rows have the same roots, and hostile files are refused with one error."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.data import parquet, tables
from weightgate.lineage.data.dataset import load_dataset
from weightgate.lineage.errors import InputError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)
ROWS = st.lists(
    st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT}, optional={"source": TEXT}), min_size=1, max_size=6
)
Write = Callable[[Path, Sequence[dict[str, Any]]], None]


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def nulls(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """JSON lines with a null for what is not there."""
    jsonl(path, [{"source": None, **row} for row in rows])


def table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    schema = pa.schema({name: pa.string() for name in ("source", "completion", "prompt")})
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


def comma(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["source", "completion", "prompt"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_formats_agree(rows: list[dict[str, str]]) -> None:
    """Both roots, whatever the characters; the files' own digests differ."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name, write in (("a.jsonl", jsonl), ("b.jsonl", nulls), ("c.parquet", table), ("d.csv", comma)):
            write(Path(folder, name), rows)
            found.append(load_dataset([Path(folder, name)], "training"))
        assert len({(data.rows_root, data.row_set.root if data.row_set else None) for data in found}) == 1
        assert len({data.sha256 for data in found}) >= 3


def test_order_counts_for_one_root_only(tmp_path: Path) -> None:
    """The set of rows stays the same, and so it does under other ids and in another shape."""
    one = [{"prompt": "a", "completion": "b"}, {"text": "c"}]
    other = [
        {"id": "7", "text": "c"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ]
    jsonl(tmp_path / "one.jsonl", one)
    jsonl(tmp_path / "other.jsonl", other)
    first, second = (load_dataset([tmp_path / name], "training") for name in ("one.jsonl", "other.jsonl"))
    assert first.row_set == second.row_set
    assert first.rows_root != second.rows_root


def test_chats_and_numbers_of_parquet(tmp_path: Path) -> None:
    """Structs, lists, dictionaries and numbers have the JSON form one expects."""
    rows = [{"messages": [{"role": "user", "content": "q"}], "id": 3, "weight": 0.5, "keep": True}]
    schema = pa.schema(
        {
            "messages": pa.list_(pa.struct({"role": pa.string(), "content": pa.string(), "name": pa.string()})),
            "id": pa.int8(),
            "weight": pa.float64(),
            "keep": pa.bool_(),
            "none": pa.null(),
        }
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "a.parquet", use_dictionary=True)
    jsonl(tmp_path / "a.jsonl", rows)
    from_table, from_lines = (load_dataset([tmp_path / name], "training") for name in ("a.parquet", "a.jsonl"))
    assert from_table.rows_root == from_lines.rows_root
    assert from_table.rows[0].id == "3"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([b"x"]), "is of type binary"),
        (pa.array([Decimal("1.0")]), "is of type decimal"),
        (pa.array([0], pa.timestamp("s")), "is of type timestamp"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "is of type map"),
        (pa.array([float("nan")]), "cannot encode"),
        (pa.array([float("inf")]), "cannot encode"),
        (pa.array([2**53], pa.int64()), "cannot encode"),
        (pa.array([[{"a": 1.5, "b": b"x"}]]), "is of type binary"),
    ],
)
def test_values_without_a_json_form_are_refused(column: pa.Array, message: str, tmp_path: Path) -> None:
    """Times, decimals, bytes, maps, NaN and integers on which readers disagree."""
    pq.write_table(pa.table({"text": ["x"], "extra": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message) as caught:
        load_dataset([tmp_path / "a.parquet"], "training")
    assert caught.value.remedy


def test_hostile_parquet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not Parquet, cut short, two columns of one name, text that is not UTF-8, no rows, too large."""
    path = tmp_path / "a.parquet"
    good = tmp_path / "good.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 50}), good)
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    for content, message in (
        (b"PAR1", "not a readable Parquet"),
        (good.read_bytes()[:-20], "not a readable Parquet"),
        (good.read_bytes()[:50] + b"\x00" * 20 + good.read_bytes()[70:], ""),
        (twice, "two columns"),
        (pa.table({"text": broken}), "not a readable Parquet"),
        (pa.table({"text": pa.array([], pa.string())}), "no rows"),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            pq.write_table(content, path)
        if message:
            with pytest.raises(InputError, match=message):
                load_dataset([path], "training")
        else:
            with suppress(InputError):
                load_dataset([path], "training")
    monkeypatch.setattr(parquet, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(InputError, match="unpacks to"):
        load_dataset([good], "training")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows|header"),
        (b"text\n", "no rows"),
        (b"text,text\na,b\n", "header"),
        (b"text,\na,b\n", "header"),
        (b"text\na,b\n", r":2: 2 cells under a header of 1"),
        (b'text\n"a\n', "not CSV"),
        (b'text\n"a"b\n', "not CSV"),
        (b"text\n\xff\n", r":2: not UTF-8"),
        (b"text\na\x00b\n", "NUL"),
        (b"\xef\xbb\xbftext\na\n", "byte-order mark"),
        (b"text\n" + b"x" * 50 + b"\n", "a row over"),
        (b'text,source\n"' + b"xxxxxxxxxx\n" * 6 + b'",y\n', "a row over|not CSV"),
    ],
)
def test_malformed_csv_is_refused(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ragged rows, open quotes, cells beyond reason."""
    monkeypatch.setattr(tables, "MAX_ROW_BYTES", 40)
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_dataset([tmp_path / "a.csv"], "training")


def test_formulas_are_text(tmp_path: Path) -> None:
    """What a spreadsheet would run is read as it stands, and an empty cell is as good as absent."""
    (tmp_path / "a.csv").write_bytes(b'id,text\n1,"=HYPERLINK(""http://x"",""y"")"\n,@SUM(1)\n')
    found = load_dataset([tmp_path / "a.csv"], "training")
    assert [row.text for row in found.rows] == ['=HYPERLINK("http://x","y")', "@SUM(1)"]
    assert [row.id for row in found.rows] == ["1", "a.csv:3"]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([".csv", ".parquet"]))
def test_arbitrary_bytes_never_crash_the_readers(content: bytes, suffix: str) -> None:
    """Rows or an input error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x" + suffix)
        path.write_bytes(content)
        with suppress(InputError):
            assert load_dataset([path], "training").rows
