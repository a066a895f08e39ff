"""The ledger: what is appended is there, what was changed is found, and a stopped writer leaves no half."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import ModelVersion
from weightgate.lineage.errors import InputError, IntegrityError, WeightgateError
from weightgate.lineage.history.documents import Admit, Genesis, Revoke, Rollback, read_document, signed
from weightgate.lineage.history.layout import FOLDER, PENDING, config_bytes, key_file
from weightgate.lineage.history.ledger import Ledger, find_ledger
from weightgate.lineage.signing.keys import SigningKey, generate, load_private

NOW = "2026-01-02T03:04:05Z"
MODEL = ModelVersion(name="v1", root="1" * 64, tensor_root="2" * 64, parameters=5)
POLICY = b"name: test\n"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return generate(tmp_path / "key.pem")


@pytest.fixture
def make(tmp_path: Path, key: SigningKey) -> Callable[[], Ledger]:
    def make() -> Ledger:
        config = config_bytes("example.com/ledger")
        genesis = Genesis(
            created=NOW,
            author=key.key_id,
            model=MODEL,
            tensors=("a", "b"),
            config=sha256_hex(config),
            policy_file=sha256_hex(POLICY),
            policy="3" * 64,
            keys=(key.key_id,),
        )
        files = {"config.yaml": config, "policy.yaml": POLICY}
        return Ledger.create(
            tmp_path / FOLDER, genesis=signed(genesis, key), key=key, keys={key.key_id: key.public}, files=files
        )

    return make


def rollback(key: SigningKey, reason: str) -> bytes:
    return signed(Rollback(created=NOW, author=key.key_id, reason=reason, root=MODEL.root), key)


def test_what_is_appended_is_there_when_it_is_opened_again(
    tmp_path: Path, key: SigningKey, make: Callable[[], Ledger]
) -> None:
    """By type, by id, by a prefix of it, and by any folder of the repository."""
    ledger = make()
    added = ledger.append("rollback", rollback(key, "first"), key)
    again = Ledger.open(tmp_path)
    assert [e.entry for e in again.entries] == [e.entry for e in ledger.entries]
    assert again.find(added.entry.id[:6]).document == added.document
    assert again.genesis.model == MODEL
    assert again.log.checkpoint().size == 2
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert find_ledger(tmp_path / "deep" / "er") == (tmp_path / FOLDER).resolve()
    (tmp_path / "deep" / ".git").mkdir()
    assert find_ledger(tmp_path / "deep" / "er") is None
    for prefix in ("abc", "ffff" * 4):
        with pytest.raises(InputError):
            again.find(prefix)
    with pytest.raises(InputError, match="already"):
        again.append("rollback", rollback(key, "first"), key)
    with pytest.raises(InputError, match="there already"):
        make()
    with pytest.raises(InputError, match="no ledger"):
        Ledger.open(tmp_path / "deep")


def test_only_admitted_keys_write(tmp_path: Path, key: SigningKey, make: Callable[[], Ledger]) -> None:
    """A stranger's document or checkpoint is refused, also where their key lies in the folder; admitted, it counts."""
    ledger = make()
    stranger = generate(tmp_path / "stranger.pem")
    with pytest.raises(IntegrityError, match="may not sign"):
        ledger.append("rollback", rollback(stranger, "mine"), key)
    (ledger.folder / key_file(stranger.key_id)).write_bytes(stranger.public_pem)
    head = ledger.folder / "log" / "checkpoint"
    before = head.read_bytes()
    head.write_bytes(ledger.log.checkpoint().sign(stranger))
    with pytest.raises(IntegrityError, match="none of the keys"):
        Ledger.open(tmp_path)
    head.write_bytes(before)
    (ledger.folder / key_file(stranger.key_id)).unlink()
    admit = Admit(created=NOW, author=key.key_id, reason="joins", key=stranger.key_id)
    ledger.append("admit", signed(admit, key), key, files={key_file(stranger.key_id): stranger.public_pem})
    ledger.append("rollback", rollback(stranger, "mine"), stranger)
    assert Ledger.open(tmp_path).keys.keys() == {key.key_id, stranger.key_id}


def test_every_flipped_byte_of_every_signed_file_is_found(
    tmp_path: Path, key: SigningKey, make: Callable[[], Ledger]
) -> None:
    """Opening already fails, whichever file of documents, keys, configuration or head it is."""
    ledger = make()
    ledger.append("rollback", rollback(key, "first"), key)
    files = [p for folder in ("events", "keys") for p in (ledger.folder / folder).iterdir()]
    files += [ledger.folder / name for name in ("genesis.json", "config.yaml", "log/checkpoint")]
    for path in files:
        data = path.read_bytes()
        for at in range(0, len(data), 3):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(WeightgateError):
                Ledger.open(tmp_path)
        path.write_bytes(data)
    Ledger.open(tmp_path)


def test_documents_are_read_in_one_form_only(key: SigningKey, tmp_path: Path) -> None:
    """Another kind, another author than the signer, or anything else that is signed is refused."""
    keys = {key.key_id: key.public}
    with pytest.raises(IntegrityError, match="no revoke"):
        read_document("revoke", rollback(key, "x"), keys)
    other = generate(tmp_path / "other.pem")
    forged = signed(Revoke(created=NOW, author=other.key_id, reason="x", changeset="4" * 64), key)
    with pytest.raises(IntegrityError, match="by its signer"):
        read_document("revoke", forged, keys)


CRASH = """
    import os, sys
    from pathlib import Path
    import weightgate.lineage.history.files as files, weightgate.lineage.history.ledger as ledger
    import weightgate.lineage.history.log as log
    from weightgate.lineage.signing.keys import load_private
    folder, key, document, writes = Path(sys.argv[1]), load_private(Path(sys.argv[2])), Path(sys.argv[3]), sys.argv[4]
    done, real = 0, files.write_file
    def write(path, data):
        global done
        if done == int(writes):
            os.kill(os.getpid(), 9)
        done += 1
        real(path, data)
    ledger.write_file = log.write_file = write
    ledger.Ledger.open(folder).append("rollback", document.read_bytes(), key)
"""


@pytest.mark.parametrize("writes", range(7))
def test_a_writer_that_is_killed_leaves_all_or_nothing(
    tmp_path: Path, key: SigningKey, make: Callable[[], Ledger], writes: int
) -> None:
    """Stopped before each of its writes, the document is either logged and there, or neither; and work goes on."""
    make()
    (tmp_path / "document.json").write_bytes(rollback(key, "stopped"))
    arguments = [tmp_path, tmp_path / "key.pem", tmp_path / "document.json", str(writes)]
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(CRASH), *arguments], check=False)
    assert ended.returncode == (-signal.SIGKILL if writes < 6 else 0)
    ledger = Ledger.open(tmp_path)
    assert not (ledger.folder / PENDING).exists()
    documents = list((ledger.folder / "events").glob("*.json")) if len(ledger.entries) == 2 else []
    assert len(ledger.entries) == 1 + len(documents)
    assert len(ledger.entries) == (2 if writes >= 5 else 1)
    ledger.append("rollback", rollback(key, "goes on"), key)
    ledger.log.check()


def test_links_do_not_lead_out(tmp_path: Path, key: SigningKey, make: Callable[[], Ledger]) -> None:
    """A file of the ledger that is a link is not read, whatever it leads to."""
    ledger = make()
    path = ledger.folder / "genesis.json"
    path.rename(tmp_path / "genesis.json")
    path.symlink_to(tmp_path / "genesis.json")
    with pytest.raises(IntegrityError, match="is a link"):
        Ledger.open(tmp_path)


def test_a_hostile_ledger_does_not_write_outside_itself(
    tmp_path: Path, key: SigningKey, make: Callable[[], Ledger]
) -> None:
    """A folder that is a link, with an unfinished write staged for it: opening neither follows nor finishes it."""
    ledger = make()
    outside = tmp_path / "outside"
    outside.mkdir()
    (ledger.folder / "events").symlink_to(outside)
    (ledger.folder / PENDING / "events").mkdir(parents=True)
    (ledger.folder / PENDING / "events" / "planted").write_bytes(b"planted")
    (ledger.folder / PENDING / ".entry").write_bytes(ledger.log.entries()[0])
    with pytest.raises(IntegrityError, match="is a link"):
        Ledger.open(tmp_path)
    assert not list(outside.iterdir())


def _add(folder: Path, key: Path, writer: int) -> None:
    signer = load_private(key)
    ledger = Ledger.open(folder)
    for at in range(6):
        with ledger.writing():
            ledger.append("rollback", rollback(signer, f"{writer}: {at}, of {len(ledger.entries)}"), signer)


def test_two_writers_see_what_the_other_wrote(tmp_path: Path, make: Callable[[], Ledger]) -> None:
    """What is computed from the contents while writing holds for the log: no two documents count the same."""
    make()
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(tmp_path, tmp_path / "key.pem", n)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    reasons = [found.reason for found in Ledger.open(tmp_path).of(Rollback).values()]
    assert [int(reason.split()[-1]) for reason in reasons] == list(range(1, 13))
