"""The commands on a ledger, as they are called: what people read, what programs read, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.verify_ledger import verify_ledger
from weightgate.lineage.history.checkpoint import verify_proof
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.history.note import parse_vkey
from weightgate.lineage.signing.keys import generate
from weightgate.reports.history_terminal import Commit, graph

if TYPE_CHECKING:
    from tests.audit.ledger.conftest import Repository

    from conftest import Command

KEY = ("--key", "key.pem")


@pytest.fixture
def command(repository: Repository, weightgate: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, in the repository."""
    monkeypatch.chdir(repository.at)
    (repository.at / "key.pub").write_bytes(repository.key.public_pem)
    return weightgate


def test_a_whole_history_on_the_command_line(repository: Repository, command: Command) -> None:
    """Propose, audit, read the log, roll back, revoke, verify: each says what it did, and verify turns to 4."""
    for name, parent in (("v2", "v1"), ("v3", "v2")):
        repository.model(name, parent, "norm")
        said = command("propose", f"models/{parent}", f"models/{name}", *KEY, "--intent", f"make {name}", "--json")
        assert said.code == 0
        repository.audit(said.json["id"])
    updates = command("log", "--json").json["updates"]
    second, third = (update["id"] for update in updates)
    assert [update["status"] for update in updates] == ["approve", "approve"]
    lines = command("log").out.splitlines()
    assert lines[0] == f"* {third[:8]} (head) approve v2 → v3"
    assert lines[3] == f"* {second[:8]} approve v1 → v2"
    assert all(len(line) <= 80 for line in lines)
    assert "\x1b" not in "".join(lines)
    assert command("verify", "--public-key", "key.pub").code == 0
    assert command("revoke", third[:6], *KEY, "--reason", "poisoned\x1b[31m").code == 0
    marked = command("log")
    assert f"* {third[:8]} (head, revoked) approve" in marked.out
    assert "\x1b" not in marked.out
    assert "the model in use is tainted" in marked.err
    refused = command("verify", "--to-genesis", "--public-key", "key.pub")
    assert (refused.code, "is tainted: revoked" in refused.err) == (4, True)
    assert command("rollback", second, *KEY, "--reason", "clean").code == 0
    assert command("verify", repository.folder, "--public-key", "key.pub", "-q").out == "verified\n"
    assert f"* {second[:8]} (head) approve" in command("log").out
    events = command("log", "--json").json["events"]
    assert [event["type"] for event in events] == ["revoke", "rollback"]


def test_show_and_its_proof(repository: Repository, command: Command) -> None:
    """Every document by the beginning of its id; the proof holds with the verifier key alone, away from the ledger."""
    update = repository.propose("v1", "v2", intent="kinder")
    attempt = repository.audit(update)
    shown = command("show", update[:8], "--proof", "v2.tlog-proof").out
    for text in (update, "kinder", "approve, head", "1 attempt: approve", attempt.id[:12], "the genesis"):
        assert text in shown
    for entry in Ledger.open(repository.folder).entries:
        assert command("show", entry.entry.id).code == 0
        assert command("show", entry.entry.id, "--json").json["payload"]["predicate"]
    ledger = Ledger.open(repository.folder)
    (vkey,) = (key.vkey for key in ledger.log.note_keys)
    entry = ledger.log.entries()[1]
    assert json.loads(entry)["id"] == update
    assert verify_proof(Path("v2.tlog-proof").read_bytes(), entry, ledger.config.origin, [parse_vkey(vkey)]).size >= 2
    assert command("show", "ffffffff").code == 2


def test_blame_as_a_table_and_as_json(repository: Repository, command: Command) -> None:
    """One line a tensor, within 80 columns."""
    update = repository.propose("v1", "v2", "norm", "layer.0.q")
    lines = command("blame", "--at", update[:8]).out.splitlines()
    assert len(lines) == 7
    assert all(len(line) <= 80 for line in lines)
    assert next(line for line in lines if line.rstrip().endswith("norm")).startswith(update[:8])
    found = command("blame", "layer.0.*", "--at", update, "--json").json["tensors"]
    assert [(tensor["tensor"], tensor["changeset"]) for tensor in found] == [("layer.0.k", None), ("layer.0.q", update)]
    assert command("blame", "nothing").code == 2
    assert command("blame", "--at", repository.history.ledger.entries[0].entry.id).code == 2


def test_policy_and_admit(repository: Repository, command: Command) -> None:
    """Who may sign and by which policy is judged changes with a reason only."""
    generate(repository.at / "ci.pem")
    assert command("propose", "models/v1", "models/v1", "--key", "ci.pem").code == 2
    assert command("admit", "ci.pub", *KEY).code == 2
    assert command("admit", "ci.pub", *KEY, "--reason", "joins").code == 0
    assert command("policy", "strict", "--key", "ci.pem", "--reason", "stricter").code == 0
    assert command("policy", "nonsense", *KEY, "--reason", "x").code == 2
    assert verify_ledger(repository.folder, [repository.key.public])


def test_outside_a_repository(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error with a remedy."""
    monkeypatch.chdir(tmp_path)
    for arguments in (("log",), ("verify",), ("blame",), ("show", "abcdef"), ("propose", "a", "b")):
        said = command(*arguments)
        assert said.code == 2
        assert "weightgate init" in said.err
    assert command("init", "repository/models/v1").code == 2


def commit(name: str, parent: str | None) -> Commit:
    return Commit(name, parent, "", (), name, ())


def test_the_graph_is_drawn_as_git_draws_it() -> None:
    """Branches part below their newest updates and join at the parent that they share."""
    drawn = [
        f"{lanes}{found.id if found else ''}".rstrip()
        for lanes, found, _ in graph(
            [commit("c", "a"), commit("b", "a"), commit("d", "g"), commit("a", "g"), commit("g", None)]
        )
    ]
    assert drawn == ["* c", "| * b", "| | * d", "|/ /", "* | a", "|/", "* g"]
