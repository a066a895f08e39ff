"""weightgate cache: what is kept can be listed, shrunk and checked; damage is never silent."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightgate.audit.cli.cache import parse_days, parse_size
from weightgate.lineage.errors import InputError
from weightgate.probes.engine.cache import ScoreCache

if TYPE_CHECKING:
    from conftest import Command

ANSWER = {"logprobs": np.zeros(100, np.float32)}
PARENT, CHILD = "a" * 64, "b" * 64


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoreCache:
    """A cache of its own with three answers of a parent and one of its child."""
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path / "cache"))
    cache = ScoreCache.default()
    cache.put_many(dict.fromkeys("123", ANSWER), model=PARENT)
    cache.put_many({"4": ANSWER}, model=CHILD)
    return cache


def change(cache: ScoreCache, statement: str) -> None:
    """Change the file behind the cache's back."""
    with sqlite3.connect(cache.folder / "scores-v1.sqlite") as database:
        database.execute(statement)


def test_ls_tells_the_models_apart(cache: ScoreCache, weightgate: Command) -> None:
    """Each model is listed with its answers and bytes, the largest first; they add up to the whole."""
    listed = weightgate("cache", "ls", "--json").json
    assert [(m["model"], m["entries"]) for m in listed["models"]] == [(PARENT, 3), (CHILD, 1)]
    assert sum(m["bytes"] for m in listed["models"]) == listed["bytes"]
    assert listed["entries"] == 4
    said = weightgate("cache", "ls")
    assert said.code == 0
    assert "aaaaaaaaaaaa" in said.out
    assert "4 answers" in said.out
    assert max(map(len, said.out.splitlines()[:-1])) <= 80


def test_gc_deletes_what_was_not_used(cache: ScoreCache, weightgate: Command) -> None:
    """What is older than asked goes, what is younger stays."""
    change(cache, "UPDATE answers SET used = used - 31 WHERE key IN ('1', '4')")
    assert weightgate("cache", "gc", "--older-than", "5w", "--json").json["deleted"] == 0
    assert weightgate("cache", "gc", "--older-than", "30d", "--json").json["deleted"] == 2
    assert cache.get_many("1234").keys() == {"2", "3"}


def test_gc_keeps_what_was_used_last(cache: ScoreCache, weightgate: Command) -> None:
    """Down to the size asked for, the answers unused for longest go first."""
    change(cache, "UPDATE answers SET used = used - 1 WHERE key = '2'")
    most = cache.stats().bytes - 1
    assert weightgate("cache", "gc", "--max-size", f"{most}B").code == 0
    assert cache.get_many("1234").keys() == {"1", "3", "4"}


@pytest.mark.parametrize("arguments", [(), ("--max-size", "lots"), ("--older-than", "-1d"), ("--older-than", "1y")])
def test_gc_deletes_nothing_it_was_not_told_to(
    cache: ScoreCache, weightgate: Command, arguments: tuple[str, ...]
) -> None:
    """Without an option, or with one that makes no sense, exit 2 and nothing is gone."""
    assert weightgate("cache", "gc", *arguments).code == 2
    assert cache.stats().entries == 4


def test_verify_finds_damage(cache: ScoreCache, weightgate: Command) -> None:
    """A clean cache exits 0; one with a changed byte exits 4, and the entry is gone afterwards."""
    assert weightgate("cache", "verify").code == 0
    change(cache, "UPDATE answers SET blob = zeroblob(size) WHERE key = '3'")
    said = weightgate("cache", "verify")
    assert said.code == 4
    assert "1 of 4" in said.err
    assert weightgate("cache", "verify", "--json").json == {"checked": 3, "damaged": 0}


def test_a_file_that_is_no_cache_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weightgate: Command
) -> None:
    """Exit 2 with the file's name, not a crash."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "scores-v1.sqlite").write_bytes(b"not a database" * 100)
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path / "cache"))
    for command in ("ls", "verify"):
        said = weightgate("cache", command)
        assert said.code == 2
        assert "scores-v1.sqlite" in said.err


def test_a_cache_from_before_models_were_noted_still_serves(tmp_path: Path) -> None:
    """A file without the column is taken over: its answers are found, listed under no model, and new ones are noted."""
    ScoreCache(tmp_path).put_many({"old": ANSWER})
    with sqlite3.connect(tmp_path / "scores-v1.sqlite") as database:
        database.execute("ALTER TABLE answers DROP COLUMN model")
    cache = ScoreCache(tmp_path)
    cache.put_many({"new": ANSWER}, model=PARENT)
    assert cache.get_many(["old", "new"]).keys() == {"old", "new"}
    assert {h.model for h in cache.holdings()} == {"", PARENT}


@pytest.mark.parametrize(("text", "size"), [("12", 12), ("1.5kB", 1500), ("2GiB", 2 << 30), ("3 MB", 3_000_000)])
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary units are told apart."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1e3", "-5MB", "9" * 40, "1PB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """No silent zero."""
    with pytest.raises(InputError):
        parse_size(text)


def test_times() -> None:
    """Days are the unit; weeks are seven of them."""
    assert (parse_days("3"), parse_days("30d"), parse_days("2w")) == (3, 30, 14)
