"""Tiles of a log (https://c2sp.org/tlog-tiles): where each lies, and what it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.files import read_file
from weightgate.lineage.history.tree import fold

WIDTH = 256
HASH = 32
MAX_ENTRY = 65_535
ENTRIES = -1
"""In place of a level: the bundles with the entries themselves."""

_NAME = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_REMEDY = "restore the log from git"


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile: its level, its place in the level, and how many hashes (or entries) it holds."""

    level: int
    number: int
    width: int

    @property
    def name(self) -> str:
        """Path below the folder of the log."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        place = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        part = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{place}{part}"

    @property
    def full(self) -> Tile:
        """The tile of the same place once it is full."""
        return Tile(self.level, self.number, WIDTH)

    def within(self, size: int) -> bool:
        """Whether a log of ``size`` entries has all of this tile."""
        return self.number * WIDTH + self.width <= size >> 8 * max(self.level, 0)


def parse_name(name: str) -> Tile | None:
    """The tile that lies at a path; None where the path is no tile's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    level = ENTRIES if found[1] == "entries" else int(found[1])
    tile = Tile(level, int(re.sub(r"[x/]", "", found[2])), int(found[3] or WIDTH))
    return tile if tile.name == name else None


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile that a log of ``size`` entries needs, bundles first."""
    level = ENTRIES
    while count := size >> 8 * max(level, 0):
        yield from (Tile(level, number, WIDTH) for number in range(count // WIDTH))
        if count % WIDTH:
            yield Tile(level, count // WIDTH, count % WIDTH)
        level += 1


def pack(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle holds them: each after its length in two bytes.

    Raises:
        InputError: an entry that is too long for that.
    """
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise InputError(f"an entry is over {MAX_ENTRY} bytes", remedy="log its digest")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack(bundle: bytes, what: str) -> tuple[bytes, ...]:
    """The entries in a bundle.

    Raises:
        IntegrityError: a length that leads beyond the end.
    """
    entries, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if at + 2 > len(bundle) or end > len(bundle):
            raise IntegrityError(f"{what}: cut off", remedy=_REMEDY)
        entries.append(bundle[at + 2 : end])
        at = end
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles in a folder, for the tree of one size."""

    folder: Path
    size: int

    def read(self, tile: Tile) -> bytes:
        """The bytes of a tile, from the full one where the partial one is gone.

        Raises:
            IntegrityError: it is missing or of another length.
        """
        path = self.folder / tile.name
        if not path.is_symlink() and not path.exists() and (self.folder / tile.full.name).exists():
            path = self.folder / tile.full.name
        data = read_file(path)
        if tile.level == ENTRIES:
            entries = unpack(data, str(path))[: tile.width]
            count, data = len(entries), pack(entries)
        else:
            count, data = len(data) // HASH, data[: tile.width * HASH]
        if count < tile.width:
            raise IntegrityError(f"{path}: holds {count} of {tile.width}", remedy=_REMEDY)
        return data

    def hashes(self, level: int, number: int) -> tuple[bytes, ...]:
        """The hashes in a tile.

        Raises:
            IntegrityError: the tile is missing or too short.
        """
        width = min(WIDTH, (self.size >> 8 * level) - number * WIDTH)
        data = self.read(Tile(level, number, width))
        return tuple(data[at : at + HASH] for at in range(0, len(data), HASH))

    def subtree(self, height: int, index: int) -> bytes:
        """Hash of a complete subtree.

        Raises:
            IntegrityError: a tile is missing or too short.
        """
        level, rest = divmod(height, 8)
        first = index << rest
        nodes = self.hashes(level, first // WIDTH)
        return fold(nodes[first % WIDTH : first % WIDTH + (1 << rest)])

    def bundle(self, number: int) -> tuple[bytes, ...]:
        """The entries in a bundle; nothing says yet that the tree commits to them.

        Raises:
            IntegrityError: the bundle is missing, cut off or too short.
        """
        tile = Tile(ENTRIES, number, min(WIDTH, self.size - number * WIDTH))
        return unpack(self.read(tile), tile.name)
