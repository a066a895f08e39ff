"""Files that are whole or absent whatever happens, and one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError

MAX_FILE_BYTES = 256_000_000
PARTIAL = ".partial"
"""Suffix of a file that is being written; one that stays belongs to a process that was stopped."""


def write_file(path: Path, data: bytes) -> None:
    """Write one file so that it is whole or as it was before, also where the machine stops meanwhile.

    Raises:
        InputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", remedy="check space and permissions") from error


def read_file(path: Path) -> bytes:
    """Read one file of a history.

    Raises:
        IntegrityError: it is missing, a link, or larger than any file of a history.
        InputError: it cannot be read.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise IntegrityError(f"{path}: over {MAX_FILE_BYTES} bytes", remedy="restore it from git")
            return file.read(size)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IntegrityError(f"{path} is missing", remedy="restore it from git") from error
    except OSError as error:
        if path.is_symlink():
            raise IntegrityError(f"{path} is a link", remedy="restore the file from git") from error
        raise InputError(f"cannot read {path}: {error.strerror}", remedy="check its permissions") from error


@contextlib.contextmanager
def locked(folder: Path, *, seconds: float = 60) -> Iterator[None]:
    """Hold the one writer's lock of a folder; it ends with the process, so no stale lock can stay.

    Raises:
        InputError: another process holds it for longer than ``seconds``, or the folder cannot be opened.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder}: cannot be opened: {error.strerror}", remedy="check the path") from error
    try:
        _acquire(handle, folder, time.monotonic() + seconds)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise InputError(f"{folder}: another process is writing to it", remedy="wait, or end it") from error
            time.sleep(0.02)
        except OSError as error:
            raise InputError(f"{folder}: cannot be locked: {error.strerror}", remedy="use a local disk") from error
        else:
            return


def _sync(folder: Path) -> None:
    """Make the new name durable too; some file systems cannot, and are as safe as they can be without it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
