"""Answers that were paid for once, addressed by content and checked on every read."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import platformdirs
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError
from weightgate.probes.engine.plan import Arrays

_FILE = "scores-v1.sqlite"
_KEYS_PER_QUERY = 500
_BUSY_SECONDS = 60.0
_SECONDS_PER_DAY = 86_400
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL,
    blob BLOB NOT NULL,
    model TEXT NOT NULL DEFAULT ''
)
"""
_ADD_MODEL = "ALTER TABLE answers ADD COLUMN model TEXT NOT NULL DEFAULT ''"  # files made before models were noted


@dataclass(frozen=True, slots=True)
class Holding:
    """What the cache holds of one model."""

    model: str
    """Fingerprint root; that of the parent too for an adapter, joined by +; empty where it was not noted."""
    entries: int
    bytes: int
    last_used: str
    """Day, ISO 8601."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache holds, and what it did since it was opened."""

    entries: int
    bytes: int
    hits: int
    misses: int
    corrupt: int


class ScoreCache:
    """A sqlite file of named arrays; several processes may use it at once.

    Every entry carries the SHA-256 of its bytes. An entry that does not match is deleted, counted and asked for again:
    this finds damage, not forgery, so the folder must be as private as the models (it is made with mode 0700).

    Raises:
        InputError: the folder cannot be written or the file in it is not a score cache.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path
        self._hits = self._misses = self._corrupt = 0
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.folder / _FILE, timeout=_BUSY_SECONDS)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        with self._sqlite_errors():
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            with self._database:
                self._database.execute(_SCHEMA)
            self._note_models()

    @classmethod
    def default(cls) -> Self:
        """The cache in the folder named by ``WEIGHTGATE_CACHE``, else in the user's cache folder of this platform."""
        named = os.environ.get("WEIGHTGATE_CACHE")
        return cls(Path(named) if named else Path(platformdirs.user_cache_dir("weightgate")))

    def get_many(self, keys: Sequence[str]) -> dict[str, Arrays]:
        """The answers that are there and whole."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Arrays] = {}
        damaged: list[str] = []
        today = int(time.time()) // _SECONDS_PER_DAY
        stale: list[str] = []
        with self._sqlite_errors():
            for key, sha256, used, blob in self._rows(wanted):
                arrays = _decode(blob, sha256)
                if arrays is None:
                    damaged.append(key)
                    continue
                found[key] = arrays
                if used != today:
                    stale.append(key)
            with self._database:
                self._database.executemany("UPDATE answers SET used = ? WHERE key = ?", [(today, key) for key in stale])
        self.drop(damaged)
        self._hits += len(found)
        self._misses += len(wanted) - len(found)
        return found

    def put_many(self, answers: Mapping[str, Arrays], *, model: str = "") -> None:
        """Keep answers of ``model`` in one transaction: all of them or, if the process dies, none."""
        today = int(time.time()) // _SECONDS_PER_DAY
        rows = []
        for key, arrays in answers.items():
            blob = _encode(arrays)
            rows.append((key, hashlib.sha256(blob).hexdigest(), len(blob), today, blob, model))
        insert = "INSERT OR REPLACE INTO answers (key, sha256, size, used, blob, model) VALUES (?, ?, ?, ?, ?, ?)"
        with self._sqlite_errors(), self._database:
            self._database.executemany(insert, rows)

    def drop(self, keys: Sequence[str]) -> None:
        """Delete entries found to be damaged or of the wrong shape, and count them."""
        if not keys:
            return
        self._corrupt += len(keys)
        with self._sqlite_errors(), self._database:
            self._database.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])

    def stats(self) -> CacheStats:
        """Entries and bytes in the file; hits, misses and damaged entries of this object."""
        with self._sqlite_errors():
            entries, size = self._database.execute("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM answers").fetchone()
        return CacheStats(entries, size, self._hits, self._misses, self._corrupt)

    def verify(self) -> int:
        """Check every entry, delete the damaged ones and return how many there were."""
        with self._sqlite_errors():
            rows = self._database.execute("SELECT key, sha256, blob FROM answers")
            damaged = [key for key, sha256, blob in rows if _decode(blob, sha256) is None]
        self.drop(damaged)
        return len(damaged)

    def holdings(self) -> list[Holding]:
        """What is held of each model, the largest first."""
        query = "SELECT model, COUNT(*), SUM(size), MAX(used) FROM answers GROUP BY model ORDER BY 3 DESC, 1"
        with self._sqlite_errors():
            rows = self._database.execute(query).fetchall()
        return [Holding(model, count, size, _day(used)) for model, count, size, used in rows]

    def gc(self, max_bytes: int | None = None, *, unused_days: int | None = None) -> int:
        """Delete the answers unused for ``unused_days`` days and more, then those unused for longest until at most
        ``max_bytes`` are left; returns how many went."""
        today = int(time.time()) // _SECONDS_PER_DAY
        with self._sqlite_errors():
            kept, doomed = 0, []
            query = "SELECT key, size, used FROM answers ORDER BY used DESC, rowid DESC"
            for key, size, used in self._database.execute(query):
                kept += size
                is_old = unused_days is not None and today - used >= unused_days
                if is_old or (max_bytes is not None and kept > max_bytes):
                    doomed.append((key,))
            with self._database:
                self._database.executemany("DELETE FROM answers WHERE key = ?", doomed)
            self._database.execute("VACUUM")
        return len(doomed)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _rows(self, keys: Sequence[str]) -> Iterator[tuple[str, str, int, bytes]]:
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, sha256, used, blob FROM answers WHERE key IN ({marks})"  # noqa: S608 - only marks
            yield from self._database.execute(query, part)

    def _note_models(self) -> None:
        """Add the column of models to a file without it; another process may be doing the same."""
        if "model" not in {row[1] for row in self._database.execute("PRAGMA table_info(answers)")}:
            try:
                self._database.execute(_ADD_MODEL)
            except sqlite3.OperationalError as error:
                if "duplicate column" not in str(error):
                    raise

    @contextmanager
    def _sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> InputError:
        return InputError(
            f"cannot use the score cache {self.folder / _FILE}: {error}",
            remedy="delete the file, free space, or name another folder in WEIGHTGATE_CACHE",
        )


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _encode(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _decode(blob: bytes, sha256: str) -> dict[str, NDArray[Any]] | None:
    if hashlib.sha256(blob).hexdigest() != sha256:
        return None
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile):
        return None
