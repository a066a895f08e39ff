"""An append-only log in a folder of plain files: no server, and every claim about it can be checked offline.

Tiles are written before the checkpoint that commits to them. A process that is stopped in between leaves tiles that no
checkpoint knows; readers pass them over, and the next append removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.checkpoint import Checkpoint, Proof, read_checkpoint
from weightgate.lineage.history.files import PARTIAL, locked, read_file, write_file
from weightgate.lineage.history.note import NoteKey
from weightgate.lineage.history.tiles import ENTRIES, HASH, WIDTH, Tile, Tiles, pack, parse_name, tiles_of
from weightgate.lineage.history.tree import consistency, fold, inclusion, tree_hash, verify_consistency
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey
from weightgate.lineage.weights.merkle import leaf_hash, root

CHECKPOINT = "checkpoint"

_REMEDY = "do not add to it; restore the log from git"


@dataclass(frozen=True, slots=True)
class Log:
    """A log and who may sign its checkpoints."""

    folder: Path
    origin: str
    keys: tuple[VerifyingKey, ...]

    @property
    def note_keys(self) -> tuple[NoteKey, ...]:
        """The keys, under the name by which checkpoints know them."""
        return tuple(NoteKey(self.origin, key) for key in self.keys)

    @classmethod
    def create(cls, folder: Path, origin: str, key: SigningKey) -> Log:
        """Make an empty log.

        Raises:
            InputError: there is one already, or the folder cannot be written.
        """
        if (folder / CHECKPOINT).exists():
            raise InputError(f"{folder}: holds a log already", remedy="choose another folder")
        write_file(folder / CHECKPOINT, Checkpoint(origin, 0, root(())).sign(key))
        return cls(folder, origin, (key.public,))

    def checkpoint(self) -> Checkpoint:
        """The signed head of the log.

        Raises:
            IntegrityError: missing, malformed, of another log, or not signed by one of the keys.
        """
        path = self.folder / CHECKPOINT
        return read_checkpoint(read_file(path), self.origin, self.note_keys, str(path))

    def append(self, entries: Sequence[bytes], key: SigningKey) -> Checkpoint:
        """Add entries at the end and sign the new head, one writer at a time.

        Raises:
            InputError: an entry that is too long, a key that is not one of the log's, or files that cannot be written.
            IntegrityError: what is there already does not check out; nothing was signed.
        """
        if key.key_id not in {known.key_id for known in self.keys}:
            raise InputError(f"{key.key_id} is no key of this log", remedy="sign with one of its keys")
        bundled = pack(entries)
        with locked(self.folder):
            old = self.checkpoint()
            tiles = self._committed(old)
            self._clean(old.size)
            if not bundled:
                return old
            self._check_end(tiles)
            self._grow(ENTRIES, old.size, tuple(entries))
            self._grow(0, old.size, tuple(leaf_hash(entry) for entry in entries))
            size = old.size + len(entries)
            new = Checkpoint(self.origin, size, tree_hash(Tiles(self.folder, size).subtree, 0, size))
            path = tree_proof(Tiles(self.folder, size), old.size)
            if not verify_consistency(old.size, old.root, size, new.root, path):
                raise IntegrityError(f"{self.folder}: the log would not stay append-only", remedy=_REMEDY)
            write_file(self.folder / CHECKPOINT, new.sign(key))
            if size // WIDTH > old.size // WIDTH:
                self._prune(size)
        return new

    def entries(self) -> tuple[bytes, ...]:
        """Every entry in order, each compared with the tree that the checkpoint commits to.

        Raises:
            IntegrityError: the log does not check out.
        """
        head = self.checkpoint()
        tiles = Tiles(self.folder, head.size)
        found = [entry for number in range(-(-head.size // WIDTH)) for entry in tiles.bundle(number)]
        if root(found) != head.root:
            raise IntegrityError(f"{self.folder}: its entries are not those of its checkpoint", remedy=_REMEDY)
        return tuple(found)

    def prove(self, index: int) -> Proof:
        """A proof for the entry at ``index``, to travel with what it is about.

        Raises:
            InputError: there is no such entry.
            IntegrityError: the log does not check out.
        """
        signed = read_file(self.folder / CHECKPOINT)
        head = read_checkpoint(signed, self.origin, self.note_keys)
        if not 0 <= index < head.size:
            raise InputError(f"the log has {head.size} entries, no entry {index}", remedy="give an index from it")
        return Proof(index, inclusion(self._committed(head).subtree, index, head.size), signed)

    def prove_consistency(self, old: int) -> tuple[bytes, ...]:
        """Hashes which show that the log of ``old`` entries is the beginning of this one.

        Raises:
            InputError: the log is shorter.
            IntegrityError: the log does not check out.
        """
        head = self.checkpoint()
        if not 0 <= old <= head.size:
            raise InputError(f"the log has {head.size} entries, not {old}", remedy="give an earlier size")
        return tree_proof(self._committed(head), old)

    def check(self) -> Checkpoint:
        """Check every file: nothing that the checkpoint commits to is missing, changed, or accompanied by others.

        Raises:
            IntegrityError: the first thing that does not check out.
        """
        head, entries = self.checkpoint(), self.entries()
        for tile in tiles_of(head.size):
            if not any((self.folder / name).is_file() for name in (tile.name, tile.full.name)):
                raise IntegrityError(f"{self.folder / tile.name} is missing", remedy=_REMEDY)
        levels = {ENTRIES: entries, 0: tuple(leaf_hash(entry) for entry in entries)}
        for path, found in self._files():
            if found is None:
                raise IntegrityError(f"{path}: not a file of the log", remedy="remove it")
            if not _is_beginning(read_file(path), _expected(found, levels), found, head.size):
                raise IntegrityError(f"{path}: not what the checkpoint commits to", remedy=_REMEDY)
        return head

    def _files(self) -> Iterator[tuple[Path, Tile | None]]:
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            leftover = name.startswith(".") or path.name.startswith(".")
            if path.is_dir() and not path.is_symlink():
                continue
            if name != CHECKPOINT and not (leftover and name.endswith(PARTIAL)):
                yield path, parse_name(name)

    def _committed(self, head: Checkpoint) -> Tiles:
        tiles = Tiles(self.folder, head.size)
        if tree_hash(tiles.subtree, 0, head.size) != head.root:
            raise IntegrityError(f"{self.folder}: its tiles are not those of its checkpoint", remedy=_REMEDY)
        return tiles

    def _check_end(self, tiles: Tiles) -> None:
        """The last entries are written again into a wider bundle, so they have to be the right ones."""
        number = tiles.size // WIDTH
        if tiles.size % WIDTH and tuple(map(leaf_hash, tiles.bundle(number))) != tiles.hashes(0, number):
            raise IntegrityError(f"{self.folder}: its entries are not those of its checkpoint", remedy=_REMEDY)

    def _grow(self, level: int, size: int, new: tuple[bytes, ...]) -> None:
        """Write the tiles of a level with ``new`` after the first ``size``, then those of the levels above."""
        number, width = divmod(size, WIDTH)
        there: tuple[bytes, ...] = ()
        if width:
            tiles = Tiles(self.folder, size << 8 * max(level, 0))
            there = tiles.bundle(number) if level == ENTRIES else tiles.hashes(level, number)
        items, roots = there + new, []
        for at in range(0, len(items), WIDTH):
            part = items[at : at + WIDTH]
            data = pack(part) if level == ENTRIES else b"".join(part)
            write_file(self.folder / Tile(level, number + at // WIDTH, len(part)).name, data)
            if len(part) == WIDTH and level != ENTRIES:
                roots.append(fold(part))
        if roots:
            self._grow(level + 1, size // WIDTH, tuple(roots))

    def _clean(self, size: int) -> None:
        """Remove what a stopped append left behind."""
        for path, tile in self._files():
            if tile is not None and not tile.within(size):
                path.unlink()
        for path in self.folder.rglob(f".*{PARTIAL}"):
            path.unlink()

    def _prune(self, size: int) -> None:
        """Partial tiles whose place has a full one by now; the specification lets them go then."""
        for path, tile in self._files():
            if tile is not None and tile.width < WIDTH and tile.full.within(size):
                path.unlink()
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()


def tree_proof(tiles: Tiles, old: int) -> tuple[bytes, ...]:
    """Consistency proof from the tree of ``old`` leaves to that of the tiles."""
    return consistency(tiles.subtree, old, tiles.size)


def _expected(tile: Tile, levels: dict[int, tuple[bytes, ...]]) -> tuple[bytes, ...]:
    """What a tile holds as far as the log goes; hashes of higher levels are computed when first needed."""
    for level in range(1, tile.level + 1):
        if level not in levels:
            below = levels[level - 1]
            levels[level] = tuple(fold(below[at : at + WIDTH]) for at in range(0, len(below) // WIDTH * WIDTH, WIDTH))
    return levels[tile.level][tile.number * WIDTH : tile.number * WIDTH + tile.width]


def _is_beginning(data: bytes, items: tuple[bytes, ...], tile: Tile, size: int) -> bool:
    """Whether ``data`` is exactly the tile or, where a stopped append left it, begins with what is committed."""
    expected = pack(items) if tile.level == ENTRIES else b"".join(items)
    if tile.within(size):
        return data == expected
    return data.startswith(expected) and (tile.level == ENTRIES or len(data) == tile.width * HASH)
