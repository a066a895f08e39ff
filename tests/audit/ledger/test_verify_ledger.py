"""Verification back to the genesis: nothing can be changed, added, removed, reordered or rolled back unnoticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.ledger_changes import change_policy, revoke, rollback
from weightgate.audit.verify_ledger import verify_ledger
from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.errors import InputError, IntegrityError, WeightgateError
from weightgate.lineage.history.documents import Attempt, signed
from weightgate.lineage.history.files import write_file
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.signing.keys import generate, load_public

if TYPE_CHECKING:
    from tests.audit.ledger.conftest import Repository


@pytest.fixture
def full(repository: Repository) -> Repository:
    """One of everything: updates, attempts finished and not, verdicts, a policy, a rollback, a revoked update."""
    second, third = repository.propose("v1", "v2"), repository.propose("v2", "v3")
    repository.audit(second)
    repository.announce(third)
    repository.audit(third)
    change_policy(repository.writer, str(repository.policy("review")), "stricter")
    rollback(repository.writer, second, "complaints")
    revoke(repository.writer, third, "poisoned", data=False)
    repository.commit()
    return repository


def check(repository: Repository) -> set[str]:
    """Names of the checks that held."""
    return {check.name for check in verify_ledger(repository.folder, [repository.key.public]).checks}


def files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_whole_ledger_verifies(full: Repository) -> None:
    """Every check is made, from the folder of the ledger or of the repository."""
    names = {"genesis", "log", "files", "inclusion", "signatures", "chain", "attempts", "consistency", "head"}
    assert check(full) == names
    found = verify_ledger(full.at, [full.key.public])
    assert next(c.detail for c in found.checks if c.name == "attempts").endswith("1 unfinished")
    with pytest.raises(InputError, match="no ledger"):
        verify_ledger(full.at / "models", [full.key.public])


def test_every_flipped_byte_of_every_file_is_found(full: Repository) -> None:
    """Whatever file of the ledger it is, and each of its bytes in turn over the files: verification fails."""
    step = 29
    for number, path in enumerate(files(full.folder)):
        data = path.read_bytes()
        for at in {*range(number % step, len(data), step), 0, len(data) - 1}:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
            with pytest.raises(WeightgateError):
                check(full)
        path.write_bytes(data)
    check(full)


def test_every_missing_file_and_every_extra_one_is_found(full: Repository) -> None:
    """Removing any file but the tiles of earlier sizes, and adding one anywhere."""
    head = Ledger.open(full.folder).log.checkpoint().size
    for path in files(full.folder):
        data = path.read_bytes()
        older = ".p/" in path.as_posix() and path.name != str(head)
        path.unlink()
        if older:
            check(full)
        else:
            with pytest.raises(WeightgateError):
                check(full)
        path.write_bytes(data)
    for folder in {path.parent for path in files(full.folder)}:
        extra = folder / "extra.json"
        extra.write_bytes(b"{}")
        with pytest.raises(IntegrityError):
            check(full)
        extra.unlink()
    check(full)


def test_the_founder_has_to_be_believed(full: Repository, tmp_path: Path) -> None:
    """A ledger that someone else began, however well signed, is not believed."""
    with pytest.raises(IntegrityError, match="none of the keys to believe"):
        verify_ledger(full.folder, [generate(tmp_path / "other.pem").public])


def test_a_log_that_was_cut_back_is_found_through_git(full: Repository) -> None:
    """A shorter, perfectly valid ledger than the one that HEAD knows is a rollback of the evidence."""
    kept = full.at.parent / "kept"
    shutil.copytree(full.folder, kept)
    full.propose("v1", "later")
    full.commit()
    check(full)
    shutil.rmtree(full.folder)
    kept.rename(full.folder)
    with pytest.raises(IntegrityError, match="it had 12 entries, and has 11"):
        check(full)


def test_a_rewritten_log_is_found_through_git(full: Repository) -> None:
    """Two histories that part after a commit cannot both be the log, though each is signed by the right key."""
    kept = full.at.parent / "kept"
    shutil.copytree(full.folder, kept)
    full.propose("v1", "one")
    full.commit()
    shutil.rmtree(full.folder)
    kept.rename(full.folder)
    for name in ("two", "three"):
        full.propose("v1", name)
    with pytest.raises(IntegrityError, match="changed or removed"):
        check(full)


def test_a_verdict_needs_an_attempt_that_was_logged_before_it(full: Repository) -> None:
    """A verdict about no attempt, a second one on an attempt, or one by another policy than was announced."""
    update = full.propose("v1", "fresh")
    attempt = full.announce(update)
    full.finish(attempt)
    check(full)
    again = full.announce(update)
    other = type(again)(again.writer, again.changeset, again.envelope, attempt.id, again.number)
    full.finish(other, "block")
    with pytest.raises(IntegrityError, match="second of one attempt"):
        check(full)


def test_a_verdict_by_another_policy_than_announced_is_found(full: Repository) -> None:
    """The policy is fixed before the run; what is decided by another one does not count."""
    from weightgate.policies.policy import load_policy

    attempt = full.announce(full.propose("v1", "fresh"))
    full.finish(attempt, "approve", load_policy(full.policy("approve", "lax")))
    with pytest.raises(IntegrityError, match="something else than its attempt announced"):
        check(full)


def test_an_attempt_cannot_start_counting_again(full: Repository) -> None:
    """A second attempt that calls itself the first is found."""
    update = full.propose("v1", "fresh")
    full.announce(update)
    said = list(full.history.ledger.of(Attempt).values())[-1]
    again = said.model_copy(update={"plan": "f" * 64})
    full.writer.ledger.append("attempt", signed(again, full.key), full.key)
    with pytest.raises(IntegrityError, match="is not attempt 2"):
        check(full)


def test_a_changeset_that_does_not_lead_to_the_genesis_is_found(full: Repository) -> None:
    """Also where an admitted key signed it and the log has it."""
    from weightgate.lineage.changeset import statement
    from weightgate.lineage.signing.envelope import sign

    known = next(iter(full.history.ledger.changesets.values()))
    stray = known.model_copy(update={"parent": known.parent.model_copy(update={"root": "a" * 64})})
    full.writer.ledger.append("changeset", sign(statement(stray), full.key).to_bytes(), full.key)
    with pytest.raises(IntegrityError, match="does not lead to the genesis"):
        check(full)


def test_an_entry_of_an_unknown_type_is_found(full: Repository) -> None:
    """Nobody can say what it means."""
    full.writer.ledger.append("mystery", b"{}", full.key, path="events/mystery.json")
    with pytest.raises(IntegrityError, match="unknown type"):
        check(full)


def test_a_tainted_model_in_use_is_refused_until_it_is_rolled_back(full: Repository) -> None:
    """The one thing that fails although every signature holds."""
    fourth = full.propose("v2", "v4")
    full.audit(fourth)
    check(full)
    revoke(full.writer, fourth, "poisoned too", data=False)
    with pytest.raises(IntegrityError, match="is tainted"):
        check(full)
    rollback(full.writer, "genesis", "start over")
    check(full)


def test_the_trust_root_beside_it_is_checked_by_its_own_signatures(full: Repository) -> None:
    """What lies there and is no trust root fails; with no root there, a draft does not matter."""
    write_file(full.folder / "trust" / "draft.root.json", b"{}")
    check(full)
    write_file(full.folder / "trust" / "root.json", b"{}")
    with pytest.raises(IntegrityError):
        check(full)


def test_verification_needs_no_torch(full: Repository) -> None:
    """Nor any other of the heavy libraries."""
    (full.at / "key.pub").write_bytes(full.key.public_pem)
    script = (
        "import sys\nfrom weightgate.audit.cli.main import app\n"
        "app(['verify', '.weightgate', '--to-genesis', '--public-key', 'key.pub'], standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'scipy', 'peft'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_public(full.at / "key.pub") == full.key.public
    assert "verified back to the genesis" in done.stdout
    assert sha256_hex(canonical({}))  # the ledger's own digests come from the same place
