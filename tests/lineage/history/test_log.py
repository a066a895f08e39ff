"""The transparency log: public vectors, all sizes over the first tile boundaries, tampering, crashes, two writers."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError, IntegrityError, WeightgateError
from weightgate.lineage.history.checkpoint import read_proof, verify_proof
from weightgate.lineage.history.log import CHECKPOINT, Log
from weightgate.lineage.history.tiles import ENTRIES, Tile, Tiles, pack, parse_name, tiles_of, unpack
from weightgate.lineage.history.tree import Subtree, consistency, inclusion, tree_hash, verify_consistency
from weightgate.lineage.signing.keys import SigningKey, generate, load_private
from weightgate.lineage.weights.merkle import inclusion_proof, leaf_hash, node_hash, root, verify_inclusion

ORIGIN = "example.com/log"

# Entries and proofs of the certificate-transparency test suite (transparency-dev/merkle, testonly/constants.go).
VECTOR = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
_A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_D = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_E = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
_F = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (_A, _B, _C),
    (6, 8): ("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", _D, _E),
    (2, 5): (_B, _F),
}
INCLUSION = {
    (0, 1): (),
    (0, 8): (_A, _B, _C),
    (5, 8): (_F, _D, _E),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): ("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", _B, _F),
}


def subtree(entries: list[bytes]) -> Subtree:
    """Complete subtrees straight from the definition."""

    def node(height: int, index: int) -> bytes:
        if height == 0:
            return leaf_hash(entries[index])
        return node_hash(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))

    return node


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return generate(tmp_path / "key.pem")


@pytest.fixture
def log(tmp_path: Path, key: SigningKey) -> Log:
    return Log.create(tmp_path / "log", ORIGIN, key)


def entry(number: int) -> bytes:
    return b'{"n":%d}' % number


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items())
def test_consistency_proofs_of_certificate_transparency(sizes: tuple[int, int], proof: tuple[str, ...]) -> None:
    """The published proofs are made, and are accepted."""
    made = consistency(subtree(VECTOR), *sizes)
    assert tuple(node.hex() for node in made) == proof
    old, new = sizes
    assert verify_consistency(old, root(VECTOR[:old]), new, root(VECTOR[:new]), made)


@pytest.mark.parametrize(("place", "proof"), INCLUSION.items())
def test_inclusion_proofs_of_certificate_transparency(place: tuple[int, int], proof: tuple[str, ...]) -> None:
    """The published proofs are made from subtrees, and are accepted."""
    made = inclusion(subtree(VECTOR), *place)
    assert tuple(node.hex() for node in made) == proof
    assert verify_inclusion(root(VECTOR[: place[1]]), VECTOR[place[0]], *place, made)


def test_tile_paths_and_the_tiles_of_a_size() -> None:
    """The examples of the specification: index 1234067, and 70,000 entries."""
    assert Tile(3, 1234067, 256).name == "tile/3/x001/x234/067"
    needed = [tile for tile in tiles_of(70_000) if tile.level != ENTRIES]
    assert [tile for tile in needed if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert sum(tile.level == 0 for tile in needed) == 274
    assert list(tiles_of(256)) == [Tile(ENTRIES, 0, 256), Tile(0, 0, 256), Tile(1, 0, 1)]


@given(st.builds(Tile, st.integers(-1, 63), st.integers(0, 10**9), st.integers(1, 256)))
def test_paths_name_one_tile_each(tile: Tile) -> None:
    """A path leads back to its tile."""
    assert parse_name(tile.name) == tile


@pytest.mark.parametrize(
    "name",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/x000/001",
        "tile/0/000.p/01",
        "tile/entries",
        "tile/0/000/",
        "checkpoint",
        "tile/-1/000",
        "tile/0/\u0660\u0660\u0660",
    ],
)
def test_other_paths_are_no_tiles(name: str) -> None:
    """One form for each tile; others are not read."""
    assert parse_name(name) is None


def test_every_size_over_two_tile_boundaries(log: Log, key: SigningKey) -> None:
    """After every append up to 600 entries: the root is that of the definition, and proofs from tiles hold."""
    chance, entries, roots = random.Random(7), [], [root([])]  # noqa: S311
    for size in range(1, 601):
        entries.append(entry(size))
        head = log.append([entries[-1]], key)
        roots.append(root(entries))
        assert (head.size, head.root) == (size, roots[-1])
        for index in {0, size - 1, chance.randrange(size)}:
            proof = log.prove(index)
            assert verify_proof(proof.to_bytes(), entries[index], ORIGIN, log.note_keys) == head
            if size < 20:
                assert proof.hashes == inclusion_proof(entries, index)
        for old in {0, 1, size, chance.randrange(size + 1), 256 * (size // 256)}:
            assert verify_consistency(old, roots[old], size, roots[-1], log.prove_consistency(old))
        if size in (1, 2, 255, 256, 257, 511, 512, 513, 600):
            assert log.check() == head
            assert list(log.entries()) == entries
    assert sorted(p.name for p in (log.folder / "tile" / "0").iterdir()) == ["000", "001", "002.p"]


@pytest.mark.parametrize("steps", [(600,), (255, 1, 1), (1, 255, 256), (300, 0, 300), (256, 256), (65_537,)])
def test_batches_make_the_same_tree(log: Log, key: SigningKey, steps: tuple[int, ...]) -> None:
    """How many entries are added at once does not matter."""
    entries: list[bytes] = []
    for count in steps:
        new = [entry(len(entries) + at) for at in range(count)]
        log.append(new, key)
        entries += new
    assert log.checkpoint().root == root(entries)
    assert log.check().size == len(entries)
    proof = log.prove(len(entries) - 1).to_bytes()
    assert verify_proof(proof, entries[-1], ORIGIN, log.note_keys).size == len(entries)


@given(st.integers(0, 40), st.integers(0, 40), st.randoms())
def test_wrong_consistency_proofs_are_refused(old: int, new: int, chance: random.Random) -> None:
    """A proof holds for its two trees only: every change to it, to a size or to a root is refused."""
    old, new = min(old, new), max(old, new)
    entries = [entry(at) for at in range(new)]
    proof = consistency(subtree(entries), old, new)
    roots = root(entries[:old]), root(entries)
    assert verify_consistency(old, roots[0], new, roots[1], proof)
    other = root([*entries[:-1], b"other"])
    if old > 0:
        assert not verify_consistency(old, other, new, roots[1], proof) or other == roots[0]
    if 0 < old < new:
        assert not verify_consistency(old, roots[0], new, other, proof)
        assert not verify_consistency(old, roots[0], new, roots[1], proof[:-1])
        changed = list(proof)
        changed[chance.randrange(len(changed))] = bytes(32)
        assert not verify_consistency(old, roots[0], new, roots[1], changed)
    assert not verify_consistency(old, roots[0], new, roots[1], (*proof, bytes(32)))


def test_every_flipped_byte_is_found(log: Log, key: SigningKey) -> None:
    """No byte of any file can change unnoticed, in partial tiles of earlier sizes either."""
    for at in range(5):
        log.append([entry(at)], key)
    files = [path for path in log.folder.rglob("*") if path.is_file()]
    assert len(files) == 11
    for path in files:
        data = path.read_bytes()
        for at in range(len(data)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
            with pytest.raises(IntegrityError):
                log.check()
        path.write_bytes(data)
    assert log.check().size == 5


def test_every_flipped_byte_is_found_over_a_tile_boundary(log: Log, key: SigningKey) -> None:
    """The same with full tiles and a second level, at every 37th byte."""
    log.append([entry(at) for at in range(300)], key)
    for path in [path for path in log.folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        for at in range(0, len(data), 37):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            with pytest.raises(IntegrityError):
                log.check()
        path.write_bytes(data)
    log.check()


def test_missing_and_extra_files_are_found(log: Log, key: SigningKey) -> None:
    """Each file that the checkpoint needs, a stranger, a tile in a second form, and a link."""
    log.append([entry(at) for at in range(300)], key)
    for path in [path for path in log.folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(IntegrityError, match="missing"):
            log.check()
        path.write_bytes(data)
    for name in ("notes.txt", "tile/0/x000/000", "tile/2/001.p/x"):
        extra = log.folder / name
        extra.parent.mkdir(parents=True, exist_ok=True)
        extra.write_bytes(b"")
        with pytest.raises(IntegrityError, match="not a file of the log"):
            log.check()
        extra.unlink()
    whole = log.folder / Tile(0, 0, 256).name
    whole.rename(log.folder.parent / "elsewhere")
    whole.symlink_to(log.folder.parent / "elsewhere")
    with pytest.raises(IntegrityError, match="link"):
        log.check()


def test_a_log_that_was_cut_or_rewritten_is_not_signed_on(log: Log, key: SigningKey) -> None:
    """Appending checks what is there first: a changed tile or bundle is never signed over."""
    log.append([entry(at) for at in range(5)], key)
    for level in (0, ENTRIES):
        path = log.folder / Tile(level, 0, 5).name
        data = path.read_bytes()
        path.write_bytes(data[:-2] + b"9}")
        with pytest.raises(IntegrityError):
            log.append([b"more"], key)
        path.write_bytes(data)
    assert log.append([b"more"], key).size == 6


def test_another_key_and_too_long_entries_are_refused(log: Log, tmp_path: Path, key: SigningKey) -> None:
    """Only keys of the log sign it; an entry has at most 65,535 bytes."""
    with pytest.raises(InputError, match="no key of this log"):
        log.append([b"x"], generate(tmp_path / "other.pem"))
    with pytest.raises(InputError, match="65535"):
        log.append([bytes(65_536)], key)
    assert log.append([bytes(65_535)], key).size == 1
    with pytest.raises(InputError, match="already"):
        Log.create(log.folder, ORIGIN, key)
    with pytest.raises(InputError):
        log.prove(1)
    with pytest.raises(InputError):
        log.prove_consistency(2)


@given(st.binary(max_size=400))
def test_hostile_proofs_are_one_error(data: bytes) -> None:
    """Whatever a proof file holds, the answer is an integrity error."""
    with pytest.raises(IntegrityError):
        verify_proof(data, b"", ORIGIN, ())
    with pytest.raises(WeightgateError):
        unpack(b"\xff\xff" + data, "bundle")


def test_every_flipped_byte_of_a_proof_is_found(log: Log, key: SigningKey) -> None:
    """The index, each hash and the checkpoint are all bound."""
    log.append([entry(at) for at in range(6)], key)
    proof = log.prove(3).to_bytes()
    assert read_proof(proof).to_bytes() == proof
    assert proof.startswith(b"c2sp.org/tlog-proof@v1\nindex 3\n")
    for at in range(len(proof)):
        changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        with pytest.raises(IntegrityError):
            verify_proof(changed, entry(3), ORIGIN, log.note_keys)


CRASH = """
    import os, sys
    from pathlib import Path
    import weightgate.lineage.history.log as module
    from weightgate.lineage.signing.keys import load_private
    folder, key, writes, count = Path(sys.argv[1]), load_private(Path(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    real, done = module.write_file, 0
    def write(path, data):
        global done
        if done == writes:
            os.kill(os.getpid(), 9)
        done += 1
        real(path, data)
    module.write_file = write
    module.Log(folder, "example.com/log", (key.public,)).append([b"new %d" % n for n in range(count)], key)
"""


@pytest.mark.parametrize("stop", [(5, 1, 1), (5, 1, 2), (254, 4, 1), (254, 4, 3), (254, 4, 5)])
def test_a_kill_between_writes_leaves_a_log_that_goes_on(
    log: Log, tmp_path: Path, key: SigningKey, stop: tuple[int, int, int]
) -> None:
    """Stopped after any number of files, the log is as it was: it checks out and takes further entries."""
    size, count, writes = stop
    entries = [entry(at) for at in range(size)]
    before = log.append(entries, key)
    stopped = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CRASH), log.folder, tmp_path / "key.pem", str(writes), str(count)],
        check=False,
    )
    assert stopped.returncode == -signal.SIGKILL
    assert log.check() == before
    assert list(log.entries()) == entries
    (log.folder / ".checkpoint.1.partial").write_bytes(b"half")
    after = log.append([b"other"], key)
    assert after.root == root([*entries, b"other"])
    assert log.check() == after
    assert not list(log.folder.rglob(".*"))
    names = {path.relative_to(log.folder).as_posix() for path in log.folder.rglob("*") if path.is_file()}
    assert all((tile := parse_name(name)) and tile.within(after.size) for name in names - {CHECKPOINT})


def _add(folder: Path, key: Path, writer: int, count: int) -> None:
    signer = load_private(key)
    log = Log(folder, ORIGIN, (signer.public,))
    for at in range(count):
        log.append([b"%d %d" % (writer, at)], signer)


def test_two_writers_wait_for_each_other(log: Log, tmp_path: Path) -> None:
    """No entry is lost and each writer's come in its order."""
    context = multiprocessing.get_context("spawn" if os.name == "nt" else "fork")
    writers = [context.Process(target=_add, args=(log.folder, tmp_path / "key.pem", n, 20)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    log.check()
    found = log.entries()
    for n in range(2):
        assert [e for e in found if e.startswith(b"%d " % n)] == [b"%d %d" % (n, at) for at in range(20)]


def test_bundles_and_trees_over_tiles(log: Log, key: SigningKey) -> None:
    """Hashes of ranges come from tiles alone, for every kind of subtree."""
    entries = [entry(at) for at in range(530)]
    log.append(entries, key)
    tiles = Tiles(log.folder, 530)
    assert tree_hash(tiles.subtree, 0, 530) == root(entries)
    for height in range(10):
        assert tiles.subtree(height, 0) == root(entries[: 1 << height])
    assert unpack(pack(entries), "bundle") == tuple(entries)
