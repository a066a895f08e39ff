"""What a location stands for: local files with the right bytes, and what is known about where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from weightgate.lineage.data.source import MAX_FILES, SourceKind
from weightgate.lineage.errors import InputError

SUFFIXES = frozenset({".jsonl", ".ndjson", ".parquet", ".csv"})
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to read rows from."""

    name: str
    """Within its source; what the changeset calls it."""
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A source whose bytes are on this disk."""

    kind: SourceKind
    uri: str
    files: tuple[LocalFile, ...]
    revision: str | None = None
    annotations: dict[str, object] = field(default_factory=dict)
    temporary: bool = False
    """Whether the files are copies that may be deleted once they are read."""
    expected: dict[str, str] = field(default_factory=dict)
    """SHA-256 that a file must have, by name, where the source states one."""


def chosen(names: Sequence[str], part: str | None, what: str) -> tuple[tuple[str, ...], int]:
    """The data files among ``names`` (by glob, else by suffix), in order of name, and how many are left out.

    Raises:
        InputError: none, or too many.
    """
    if part is not None:
        wanted = [name for name in names if fnmatchcase(name, part)]
    else:
        wanted = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not wanted:
        raise InputError(
            f"{what}: no data file" + (f" matches {part!r}" if part else ""),
            remedy=f"files are {', '.join(sorted(names)[:5]) or '(none)'}; choose with #GLOB",
        )
    if len(wanted) > MAX_FILES:
        raise InputError(f"{what}: more than {MAX_FILES} files", remedy="choose some with #GLOB")
    return tuple(sorted(wanted)), len(names) - len(wanted)


def hash_file(path: Path, *algorithms: str) -> tuple[str, ...]:
    """Digests of a file's bytes, all in one pass; never from a cache of times or sizes.

    Raises:
        InputError: it cannot be read.
    """
    hashers = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                for hasher in hashers:
                    hasher.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
    return tuple(hasher.hexdigest() for hasher in hashers)
