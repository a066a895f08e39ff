"""Reading JSON that others wrote: one meaning for each document, or an error that names it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from weightgate.lineage.errors import InputError

MAX_DEPTH = 64
_LARGEST_INTEGER = 2**53 - 1  # beyond it, readers disagree on the value (RFC 8785 §3.2.2.3)
_REMEDY = "write it again as plain JSON (RFC 8259) in UTF-8"


def parse(data: bytes, what: str) -> Any:
    """Parse a document that has a canonical form (RFC 8785).

    Raises:
        InputError: not UTF-8, not JSON, a key given twice, a number that is not finite or an integer of 2**53 or more,
            an unpaired surrogate, or nested too deep; the message starts with ``what``.
    """

    def refuse(number: str) -> Any:
        raise InputError(
            f"{what} holds the number {number[:40]}, on which JSON readers disagree",
            remedy="write numbers finite and integers below 2**53, or as text",
        )

    return _parse(data, what, refuse)


def parse_config(data: bytes, what: str) -> dict[str, Any]:
    """Parse a configuration object as Python libraries write them.

    Their ``Infinity``, ``NaN`` and integers of 2**53 and more are kept as text: the result has a canonical form.

    Raises:
        InputError: as for `parse`, or the document is not an object.
    """
    document = _parse(data, what, str)
    if not isinstance(document, dict):
        raise InputError(f"{what} is of type {type(document).__name__}, not an object", remedy=_REMEDY)
    return document


def _parse(data: bytes, what: str, odd_number: Callable[[str], Any]) -> Any:
    def integer(digits: str) -> Any:
        value = int(digits)
        return value if abs(value) <= _LARGEST_INTEGER else odd_number(digits)

    def real(digits: str) -> Any:
        value = float(digits)
        return value if math.isfinite(value) else odd_number(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) != len(pairs):
            raise InputError(f"{what} gives the key {_first_repeated(pairs)!r} twice", remedy="keep one of the two")
        return document

    try:
        text = data.decode("utf-8")
        document = json.loads(
            text, object_pairs_hook=unique, parse_constant=odd_number, parse_int=integer, parse_float=real
        )
        _check_depth(document)
        if "\\u" in text:  # only an escape can bring in a surrogate without its pair
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise InputError(f"{what} is not UTF-8 text: {error}", remedy=_REMEDY) from error
    except ValueError as error:
        raise InputError(f"{what} is not JSON: {error}", remedy=_REMEDY) from error
    except RecursionError as error:
        raise InputError(f"{what} is nested too deep", remedy=_REMEDY) from error
    return document


def _check_depth(document: Any) -> None:
    """Code that walks a document calls itself once a level; a hostile one must not exhaust the stack there."""
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        level = [
            value
            for node in level
            if isinstance(node, dict | list)
            for value in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise RecursionError


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
