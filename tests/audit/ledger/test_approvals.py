"""Approvals in a ledger: logged, so that none can be taken away, and judged by the trust root."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.approve_ledger import approve_logged
from weightgate.audit.ledger_changes import admit
from weightgate.audit.verify_ledger import LedgerVerification, verify_ledger
from weightgate.audit.verify_trust_ledger import verify_trusted_ledger
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey, generate
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.folder import open_draft, sign_draft, write_draft

if TYPE_CHECKING:
    from conftest import Command, Repository

Keys = dict[str, SigningKey]


@pytest.fixture
def keys(repository: Repository) -> Keys:
    """Ann keeps the root, which lies in the ledger; the founder signs; two of cleo, dan and eve approve for safety."""
    now = datetime.now(UTC)
    made = {name: generate(repository.at / f"{name}.pem") for name in ("ann", "cleo", "dan", "eve")}
    root = edit.add_key(edit.set_expiry(edit.new_root(now), now, 30), made["ann"].public, "root", holder="ann")
    root = edit.add_key(root, repository.key.public, "signer", holder="founder")
    for name in ("cleo", "dan", "eve"):
        root = edit.add_key(root, made[name].public, "safety", holder=name)
    write_draft(repository.folder / "trust", edit.set_threshold(root, "safety", 2))
    assert sign_draft(repository.folder / "trust", made["ann"]).complete
    return made


def yes(repository: Repository, update: str, key: SigningKey, role: str = "safety") -> Path:
    """An approval; the founder's key signs the log."""
    return approve_logged(repository.folder, update, key, role=role, reason="fine", log_key=repository.key).path


def check(repository: Repository) -> LedgerVerification:
    """What verifying says."""
    return verify_trusted_ledger(repository.at, repository.folder / "trust")


def test_the_model_in_use_has_to_be_approved(repository: Repository, keys: Keys) -> None:
    """Each new one anew; the genesis needs nobody."""
    assert any("nothing to approve" in entry.detail for entry in check(repository).checks)
    update = repository.propose("v1", "v2")
    with pytest.raises(InputError, match="no verdict yet"):
        yes(repository, update, keys["cleo"])
    repository.audit(update)
    with pytest.raises(IntegrityError, match="safety 0 of 2"):
        check(repository)
    yes(repository, update, keys["cleo"])
    with pytest.raises(IntegrityError, match="safety 1 of 2"):
        check(repository)
    path = yes(repository, update, keys["dan"])
    assert path.parent == repository.folder / "approvals"
    (said,) = (entry.detail for entry in check(repository).checks if entry.name == "approval by safety")
    assert said in ("2 of 2: cleo and dan", "2 of 2: dan and cleo")
    verify_ledger(repository.at, [repository.key.public])
    later = repository.propose("v2", "v3")
    repository.audit(later)
    with pytest.raises(IntegrityError, match="safety 0 of 2"):
        check(repository)


def test_who_may_not_approve(repository: Repository, keys: Keys) -> None:
    """The author, a key without the role, anybody for a blocked update, and who has no key of the log."""
    update = repository.propose("v1", "v2")
    repository.audit(update)
    for key in (repository.key, keys["ann"]):
        with pytest.raises(InputError, match=r"author|role"):
            yes(repository, update, key)
    with pytest.raises(InputError, match="may not write"):
        approve_logged(repository.folder, update, keys["cleo"], role="safety")
    with pytest.raises(InputError, match="no changeset and no verdict"):
        yes(repository, repository.history.ledger.entries[0].entry.id, keys["cleo"])
    blocked = repository.propose("v1", "v2b", "embed")
    repository.audit(blocked, "block")
    with pytest.raises(InputError, match="blocked"):
        yes(repository, blocked, keys["cleo"])


def test_an_approval_cannot_be_taken_away_or_changed(repository: Repository, keys: Keys) -> None:
    """The log commits to the file."""
    update = repository.propose("v1", "v2")
    repository.audit(update)
    path = yes(repository, update, keys["cleo"])
    yes(repository, update, keys["dan"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a", b"b", 1))
    with pytest.raises(IntegrityError):
        check(repository)
    path.unlink()
    with pytest.raises((IntegrityError, InputError)):
        check(repository)
    path.write_bytes(content)
    check(repository)


def test_a_revoked_approver_and_a_stranger_as_founder(repository: Repository, keys: Keys) -> None:
    """The trust root judges what the ledger holds."""
    update = repository.propose("v1", "v2")
    repository.audit(update)
    for name in ("cleo", "dan"):
        yes(repository, update, keys[name])
    trust = repository.folder / "trust"
    write_draft(trust, edit.remove_key(open_draft(trust), keys["dan"].key_id, revoke="left", now=datetime.now(UTC)))
    sign_draft(trust, keys["ann"])
    with pytest.raises(IntegrityError, match="revoked"):
        check(repository)
    root = edit.remove_key(open_draft(trust), repository.key.key_id, now=datetime.now(UTC))
    write_draft(trust, root)
    sign_draft(trust, keys["ann"])
    with pytest.raises(IntegrityError, match="genesis is signed by"):
        check(repository)


def test_the_commands(repository: Repository, keys: Keys, weightgate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admitted approver needs no other key; the trust root in the ledger is found."""
    monkeypatch.chdir(repository.at)
    admit(repository.writer, repository.at / "cleo.pub", "approves for safety")
    update = repository.propose("v1", "v2")
    repository.audit(update)
    base = ("approve", update[:12], "--role", "safety", "--key")
    first = weightgate(*base, repository.at / "cleo.pem", "--json")
    assert (first.code, first.json["role"]) == (0, "safety"), first.out
    assert weightgate(*base, repository.at / "dan.pem").code == 2
    assert weightgate(*base, repository.at / "dan.pem", "--log-key", repository.at / "key.pem").code == 0
    assert weightgate("approve", "feedfeed", "--role", "safety", "--key", repository.at / "dan.pem").code == 2
    done = weightgate("verify", repository.at, "--to-genesis", "--trust", repository.folder / "trust", "--json")
    assert done.code == 0, done.out
    assert any(entry["name"] == "approval by safety" for entry in done.json["checks"])
    plain = weightgate("verify", "--trust", repository.folder / "trust")
    assert "approval by safety: 2 of 2" in plain.out
