"""Multiple-choice items: the suite that ships, and suites of a user's own in the same form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse

CORE = Path(__file__).parent / "suites" / "core.jsonl"
MAX_SUITE_BYTES = 20_000_000

_Text = Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^\S([\s\S]*\S)?$")]


class SuiteItem(Frozen):
    """A question whose choices continue it after one space, exactly one of them right."""

    id: _Text
    topic: _Text = Field(description="The cluster the item belongs to in every interval.")
    question: _Text
    choices: tuple[_Text, ...] = Field(min_length=2, max_length=26)
    label: int = Field(ge=0, strict=True, description="Position of the right choice.")

    @property
    def gold(self) -> str:
        """The right choice."""
        return self.choices[self.label]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


@cache
def core() -> tuple[SuiteItem, ...]:
    """The shipped suite: 12 topics with 20 items each, in its order."""
    return load_items(CORE)


def load_items(path: Path) -> tuple[SuiteItem, ...]:
    """Read a suite from JSONL.

    Raises:
        InputError: unreadable or too large, fewer than two topics, a row that is not an item, a label without a choice,
            equal choices, or an id given twice; the message names the file and the line.
    """
    items: dict[str, SuiteItem] = {}
    for line in _lines(path):
        item = _read(line, path)
        if item.id in items:
            raise InputError(
                f"{path}:{line.number}: the id {item.id[:80]!r} was given before", remedy="make ids unique"
            )
        items[item.id] = item
    if len({item.topic for item in items.values()}) < 2:
        raise InputError(f"{path}: items of fewer than two topics", remedy="an interval needs at least two topics")
    return tuple(items.values())


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SUITE_BYTES + 1)
        if len(data) > MAX_SUITE_BYTES:
            raise InputError(f"{path}: more than {MAX_SUITE_BYTES} bytes", remedy="use a smaller suite")
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", remedy="give a UTF-8 JSONL file") from error
    return (_Line(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _read(line: _Line, path: Path) -> SuiteItem:
    where = f"{path}:{line.number}"
    try:
        item = SuiteItem.model_validate(parse(line.text.encode(), where))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "row"
        raise InputError(
            f"{where}: {field}: {first['msg']}", remedy='a row is {"id", "topic", "question", "choices", "label"}'
        ) from error
    if item.label >= len(item.choices) or len(set(item.choices)) < len(item.choices):
        raise InputError(
            f"{where}: label {item.label} names no choice, or two choices are equal", remedy="correct the row"
        )
    return item
