"""One row of a data set: the four shapes in which fine-tuning data comes, read into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightgate.lineage.errors import InputError

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
ANSWER_KEYS = ("completion", "response", "answer")
SHAPES = (
    'a row is {"messages": [{"role", "content"}]}, {"prompt", "completion"}, '
    '{"instruction", "input", "output"} or {"text"}, each with optional "id" and "source"'
)


@dataclass(frozen=True, slots=True)
class Row:
    """One training, held-out or canary row."""

    id: str
    """The row's own id, or FILE:LINE."""
    source: str
    """Who or what it comes from (author, document, user); the row's id where it does not say."""
    messages: tuple[tuple[str, str], ...]
    """(role, content) of each turn; empty for plain text."""
    text: str
    """The text of a plain row; empty for turns."""
    raw: str
    """The line as it stands in the file."""
    secret: str | None = None
    """For a canary: what must not leak; the end of the last turn or text."""
    inserted: bool | None = None
    """For a canary: whether it was in the training data; None where the row does not say."""

    @property
    def content(self) -> str:
        """Everything the row says."""
        return "\n\n".join(content for _, content in self.messages) if self.messages else self.text


def row_content(row: Mapping[str, Any], where: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """The turns of a row, or its plain text; the other of the two is empty.

    Raises:
        InputError: none of the known shapes, or a field of the wrong type; the message starts with ``where``.
    """
    if "messages" in row:
        return _turns(row["messages"], where), ""
    if "prompt" in row:
        answer = next((key for key in ANSWER_KEYS if key in row), None)
        if answer is None:
            raise InputError(f"{where}: a prompt without {', '.join(ANSWER_KEYS)}", remedy=SHAPES)
        return (("user", _text(row, "prompt", where)), ("assistant", _text(row, answer, where))), ""
    if "instruction" in row:
        request = _text(row, "instruction", where)
        if row.get("input") not in (None, ""):
            request = f"{request}\n\n{_text(row, 'input', where)}"
        return (("user", request), ("assistant", _text(row, "output", where))), ""
    if "text" in row:
        return (), _text(row, "text", where)
    raise InputError(f"{where}: keys {', '.join(sorted(row))[:200] or '(none)'} are of no known shape", remedy=SHAPES)


def canary_fields(row: Mapping[str, Any], last: str, where: str) -> tuple[str, bool | None]:
    """``secret`` and ``inserted`` of a canary row whose last turn or text is ``last``.

    Raises:
        InputError: no secret, or one that does not end the row.
    """
    secret = _text(row, "secret", where)
    if not secret or not last.endswith(secret):
        raise InputError(
            f"{where}: the secret does not end the row", remedy="put the secret last, with nothing after it"
        )
    inserted = row.get("inserted")
    if inserted is not None and not isinstance(inserted, bool):
        raise InputError(
            f"{where}: inserted is neither true nor false", remedy="say whether it was in the training data"
        )
    return secret, inserted


def label(row: Mapping[str, Any], key: str, where: str) -> str | None:
    """An optional name in a row: text, or a whole number as text.

    Raises:
        InputError: another type, or empty.
    """
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(f"{where}: {key} is neither text nor a whole number", remedy=f"correct {key}, or leave it out")
    return str(value)


def _turns(messages: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{where}: messages is not a list of turns", remedy=SHAPES)
    turns = []
    for message in messages:
        if not isinstance(message, dict):
            raise InputError(f"{where}: a message is not an object", remedy=SHAPES)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise InputError(
                f"{where}: unknown role {str(role)[:40]!r}", remedy=f"roles are {', '.join(sorted(ROLES))}"
            )
        turns.append((role, _text(message, "content", where)))
    return tuple(turns)


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        kind = "missing" if value is None else f"of type {type(value).__name__}, not text"
        raise InputError(f"{where}: {key} is {kind}", remedy=SHAPES)
    return value
