"""The cache gives back what was put in, or nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from weightgate.lineage.errors import InputError
from weightgate.probes.engine.cache import ScoreCache

FILE = "scores-v1.sqlite"
ANSWER = {"logprobs": np.array([-0.5, -1.25], np.float32), "greedy": np.array([True, False])}


def damage(folder: Path, key: str, blob: bytes) -> None:
    """Overwrite the bytes of an entry behind the cache's back."""
    with sqlite3.connect(folder / FILE) as database:
        database.execute("UPDATE answers SET blob = ? WHERE key = ?", (blob, key))


@settings(deadline=None)
@given(answer=st.dictionaries(st.sampled_from(["a", "b"]), arrays(np.float32, array_shapes(max_dims=2, max_side=4))))
def test_arrays_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, answer: dict[str, np.ndarray]) -> None:
    """Names, shapes, types and bits of the arrays survive, NaN included, and so across processes' handles."""
    folder = tmp_path_factory.mktemp("cache")
    ScoreCache(folder).put_many({"key": answer})
    found = ScoreCache(folder).get_many(["key"])["key"]
    assert {name: (a.shape, a.dtype, a.tobytes()) for name, a in found.items()} == {
        name: (a.shape, a.dtype, a.tobytes()) for name, a in answer.items()
    }


def test_only_what_is_there_is_given(cache: ScoreCache) -> None:
    """Unknown keys are left out, any number may be asked for, and hits and misses are counted."""
    cache.put_many({str(index): ANSWER for index in range(1200)})
    assert len(cache.get_many([str(index) for index in range(1300)])) == 1200
    assert (cache.stats().entries, cache.stats().hits, cache.stats().misses) == (1200, 1200, 100)


@pytest.mark.parametrize("blob", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)])
def test_a_damaged_entry_is_deleted_and_counted(cache: ScoreCache, blob: bytes) -> None:
    """An entry whose bytes do not match its digest is not given, and is gone afterwards."""
    cache.put_many({"good": ANSWER, "bad": ANSWER})
    damage(cache.folder, "bad", blob)
    assert cache.get_many(["good", "bad"]).keys() == {"good"}
    assert (cache.stats().entries, cache.stats().corrupt) == (1, 1)


def test_verify_finds_what_reading_would(cache: ScoreCache) -> None:
    """`verify` deletes every damaged entry and says how many there were."""
    cache.put_many(dict.fromkeys("abc", ANSWER))
    damage(cache.folder, "b", b"x")
    assert cache.verify() == 1
    assert cache.verify() == 0
    assert cache.get_many(list("abc")).keys() == {"a", "c"}


def test_gc_keeps_what_was_used_last(cache: ScoreCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is made by deleting the answers unused for longest."""
    day = 86_400
    monkeypatch.setattr("time.time", lambda: 100 * day)
    cache.put_many(dict.fromkeys("abc", ANSWER))
    monkeypatch.setattr("time.time", lambda: 200 * day)
    cache.get_many(["a"])
    assert cache.gc(cache.stats().bytes // 3) == 2
    assert cache.get_many(list("abc")).keys() == {"a"}


def test_two_processes_write_at_once(cache: ScoreCache) -> None:
    """Processes that write the same file at the same time lose nothing."""
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom weightgate.probes.engine.cache import ScoreCache\n"
        "cache = ScoreCache(Path(sys.argv[1]))\n"
        "for i in range(50): cache.put_many({f'{sys.argv[2]}-{i}': {'x': np.arange(i)}})\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(cache.folder), name]) for name in ("a", "b")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert cache.stats().entries == 100
    assert cache.verify() == 0


def test_pickled_arrays_are_refused(cache: ScoreCache) -> None:
    """Arrays of objects, which need pickle, are neither written nor read."""
    with pytest.raises(ValueError, match="pickle"):
        cache.put_many({"key": {"x": np.array([{}], dtype=object)}})
    assert cache.stats().entries == 0


def test_a_file_that_is_no_cache_is_an_input_error(tmp_path: Path) -> None:
    """Something else under the cache's name is named in the error, and not overwritten."""
    (tmp_path / FILE).write_bytes(b"something else " * 100)
    with pytest.raises(InputError, match=FILE):
        ScoreCache(tmp_path)
    assert (tmp_path / FILE).read_bytes().startswith(b"something else")


def test_an_unwritable_folder_is_an_input_error(tmp_path: Path) -> None:
    """A file where the folder should be is named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        ScoreCache(tmp_path / "file" / "cache")


def test_the_default_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEIGHTGATE_CACHE moves the cache; its folder is for the user alone."""
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path / "elsewhere"))
    assert ScoreCache.default().folder == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere").stat().st_mode & 0o077 == 0
