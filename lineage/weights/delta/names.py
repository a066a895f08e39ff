"""File names that come out of a delta: only plain relative paths that mean the same on every system."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

MAX_PART_BYTES = 255
_FORBIDDEN = frozenset('\\:*?"<>|')
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


def check_names(names: Sequence[str]) -> None:
    """Check that files of these names can lie in one folder and nowhere else.

    Raises:
        ValueError: a name that is no plain relative path, two that some file systems take for one (they differ in case
            only), a file where another needs a folder, or names that are not in order.
    """
    for name in names:
        if not all(_is_plain(part) for part in name.split("/")):
            raise ValueError(f"the file name {name[:200]!r} is not a plain relative path")
    if any(earlier >= later for earlier, later in pairwise(names)):
        raise ValueError("file names are not in order")
    folded = {name.casefold() for name in names}
    if len(folded) != len(names):
        raise ValueError("two file names differ in case only")
    for name in folded:
        parts = name.split("/")
        if any("/".join(parts[:end]) in folded for end in range(1, len(parts))):
            raise ValueError(f"a file where {name[:200]!r} needs a folder")


def _is_plain(part: str) -> bool:
    return (
        0 < len(part.encode("utf-8", "surrogatepass")) <= MAX_PART_BYTES
        and part.isprintable()
        and not _FORBIDDEN.intersection(part)
        and not part.endswith((".", " "))
        and part.partition(".")[0].casefold() not in _DEVICES
    )
