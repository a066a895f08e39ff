"""Strict JSON: one meaning for each document, and a canonical form for whatever is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import MAX_DEPTH, parse, parse_config


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ud8012eE+-.NaInfity', max_size=40).map(str.encode))
def test_what_is_accepted_has_a_canonical_form(data: bytes) -> None:
    """Arbitrary bytes are refused as an input error, or mean something that can be signed."""
    for read in (parse, parse_config):
        try:
            document = read(data, "x")
        except InputError:
            continue
        assert parse(canonical(document), "x") == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "gives the key 'b' twice"),
        ("[NaN]", "the number NaN"),
        ("[-Infinity]", "the number -Infinity"),
        ("[1e400]", "the number 1e400"),
        ("[9007199254740992]", "the number 9007199254740992"),
        ('["\\udc00"]', "not UTF-8"),
        ("[" * MAX_DEPTH * 2 + "]" * MAX_DEPTH * 2, "nested too deep"),
        ("9" * 5000, "not JSON"),
        ("", "not JSON"),
        ("{} {}", "not JSON"),
        ("\ufeff{}", "not JSON"),
    ],
)
def test_what_readers_disagree_on_is_refused(text: str, message: str) -> None:
    """Repeated keys, numbers beyond double precision, half surrogates, bottomless nesting."""
    with pytest.raises(InputError, match=message):
        parse(text.encode("utf-8"), "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1000000000000000019884624838656}', {"a": "1000000000000000019884624838656"}),
        ('{"a": [NaN, Infinity, -Infinity, 1e999]}', {"a": ["NaN", "Infinity", "-Infinity", "1e999"]}),
        ('{"a": [1, 1.5, true, null, "\\ud83d\\ude00"]}', {"a": [1, 1.5, True, None, "😀"]}),
    ],
)
def test_configurations_keep_odd_numbers_as_text(text: str, value: Any) -> None:
    """What Python's json writes is read without loss."""
    assert parse_config(text.encode(), "x") == value


def test_a_configuration_is_an_object() -> None:
    """Anything else is refused."""
    with pytest.raises(InputError, match="of type list, not an object"):
        parse_config(b"[]", "x")


@given(
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_json_writes_is_read(document: Any) -> None:
    """Every ordinary document comes back as it was."""
    assert parse(json.dumps(document).encode(), "x") == document


def test_a_document_without_a_form_is_an_input_error() -> None:
    """Nesting beyond the encoder's reach is refused, not a crash."""
    document: list[Any] = []
    for _ in range(100_000):
        document = [document]
    with pytest.raises(InputError, match="nested too deep"):
        canonical(document)
