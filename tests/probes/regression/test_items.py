"""The shipped suite is sound, and suites of a user's own are read strictly."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError
from weightgate.probes.regression.items import core, load_items

ROW: dict[str, Any] = {"id": "a", "topic": "t", "question": "Up is", "choices": ["high", "low"], "label": 0}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """A suite file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_suite_is_twelve_topics_of_twenty() -> None:
    """240 items in 12 topics of equal size."""
    assert Counter(Counter(item.topic for item in core()).values()) == {20: 12}


def test_labels_are_balanced_in_every_topic() -> None:
    """A model that always takes the same position is right one time in four, in every topic."""
    places = Counter((item.topic, item.label) for item in core())
    assert set(places.values()) == {5}


def test_no_question_is_asked_twice() -> None:
    """Items are distinct, so that 240 is their number."""
    assert len({item.question for item in core()}) == len(core())


def test_no_choice_begins_another() -> None:
    """Summed log-probabilities would favour a choice that is the beginning of another one."""
    clashes = [item.id for item in core() for a in item.choices for b in item.choices if a != b and b.startswith(a)]
    assert not clashes


def test_length_does_not_give_the_right_choice_away() -> None:
    """The right choice is the longest, or the shortest, in fewer than a third of the items."""
    for extreme in (max, min):
        given_away = [i for i in core() if [c for c in i.choices if len(c) == extreme(map(len, i.choices))] == [i.gold]]
        assert len(given_away) < len(core()) / 3


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": 2}, "label 2 names no choice"),
        ({"label": -1}, "label"),
        ({"label": True}, "label"),
        ({"choices": ["high", "high"]}, "two choices are equal"),
        ({"choices": ["high"]}, "choices"),
        ({"choices": ["high", " low"]}, "choices.1"),
        ({"question": ""}, "question"),
        ({"question": "Up is "}, "question"),
        ({"answer": "high"}, "answer"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    """The message names file, line and field."""
    path = write(tmp_path / "suite.jsonl", ROW, ROW | {"id": "b", "topic": "u"} | change)
    with pytest.raises(InputError, match=complaint) as caught:
        load_items(path)
    assert f"{path}:2" in str(caught.value)


def test_an_id_given_twice_is_refused(tmp_path: Path) -> None:
    """Two rows of one id cannot be told apart in the evidence."""
    with pytest.raises(InputError, match=r":2: the id 'a' was given before"):
        load_items(write(tmp_path / "suite.jsonl", ROW, ROW | {"topic": "u"}))


def test_one_topic_is_refused(tmp_path: Path) -> None:
    """An interval between topics needs two of them; that is said before any model runs."""
    with pytest.raises(InputError, match="fewer than two topics"):
        load_items(write(tmp_path / "suite.jsonl", ROW, ROW | {"id": "b"}))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]\n", b'{"id": \n', b'{"id": "a", "id": "b"}\n'])
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, not UTF-8, not JSON, not an object or with a key given twice: an input error, never a crash."""
    path = tmp_path / "suite.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"suite\.jsonl"):
        load_items(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A wrong path is an input error with the path in it."""
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        load_items(tmp_path / "nowhere.jsonl")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(str.strip).filter(bool)


@given(choices=st.lists(TEXT, min_size=2, max_size=6, unique=True), question=TEXT, data=st.data())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, choices: list[str], question: str, data: st.DataObject
) -> None:
    """Any text without space around it survives, line separators and quotes included."""
    label = data.draw(st.integers(0, len(choices) - 1))
    row = {"id": "x", "topic": "t", "question": question, "choices": choices, "label": label}
    items = load_items(write(tmp_path_factory.mktemp("suite") / "s.jsonl", ROW | {"topic": "u"}, row))
    assert items[1].model_dump(mode="json") == row
    assert items[1].gold == choices[label]
