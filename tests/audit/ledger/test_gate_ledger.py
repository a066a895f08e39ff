"""The gate in a repository with a ledger, on the tiny twin: announced before it runs, judged in the log after."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.gate import gate
from weightgate.audit.history import read_history
from weightgate.audit.ledger_changes import init
from weightgate.audit.verify_ledger import verify_ledger
from weightgate.lineage.errors import InputError
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.signing.keys import generate, load_public

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin


@pytest.fixture
def repository(twin: Twin, tmp_path: Path, weightgate: Command) -> Path:
    """A repository whose ledger begins with the twin's parent; it is the working directory."""
    (tmp_path / ".git").mkdir()
    generate(tmp_path / "key.pem")
    init(tmp_path, twin.parent, policy="default", key=tmp_path / "key.pem", others=())
    return tmp_path


def test_the_gate_records_changeset_attempt_and_verdict(twin: Twin, repository: Path, weightgate: Command) -> None:
    """Found from the working directory; the record and the terminal say which attempt it is."""
    arguments = ("gate", twin.parent, twin.children["benign"], "--key", "key.pem", "--probes", "poisoning.files")
    first = weightgate(*arguments, "--out", "one", "--json")
    assert first.json["attempt"]["number"] == 1
    second = weightgate(*arguments, "--out", "two", "--seed", "1")
    assert "attempt 2 of this child" in " ".join(second.out.split())
    assert first.code == second.code == {"approve": 0, "block": 1, "review": 3}[first.json["decision"]["verdict"]]
    history = read_history(Ledger.open(repository))
    (node,) = history.nodes.values()
    assert [audited.attempt.seed for audited in node.attempts] == [0, 1]
    assert node.attempts[0].id == first.json["attempt"]["id"]
    assert all(audited.own_policy and audited.outcome == node.status for audited in node.attempts)
    assert [e.entry.type for e in history.ledger.entries] == ["genesis", "changeset", *["attempt", "verdict"] * 2]
    assert Path("one/changeset.json").read_bytes() == history.ledger.entries[1].data
    assert Path("two/verdict.json").read_bytes() == history.ledger.entries[-1].data
    assert weightgate("verify", "one", "--public-key", "key.pub").code == 0
    assert weightgate("verify", "--to-genesis", "--public-key", "key.pub").code == 0


def test_a_proposed_changeset_is_audited_and_not_made_again(twin: Twin, repository: Path, weightgate: Command) -> None:
    """Propose, then gate: one changeset, and its intent stays."""
    child = twin.children["benign"]
    proposed = weightgate("propose", twin.parent, child, "--key", "key.pem", "--intent", "kinder", "--json")
    weightgate("gate", twin.parent, child, "--key", "key.pem", "--probes", "poisoning.files", "--out", "run")
    changesets = Ledger.open(repository).changesets
    assert list(changesets) == [proposed.json["id"]]
    assert changesets[proposed.json["id"]].intent == "kinder"


def test_a_parent_that_the_ledger_does_not_know_is_refused(twin: Twin, repository: Path, weightgate: Command) -> None:
    """Before anything runs or is logged; and so is a key that was not admitted."""
    said = weightgate("gate", twin.children["benign"], twin.parent, "--key", "key.pem", "--out", "run")
    assert said.code == 2
    assert "knows no model" in said.err
    generate(repository / "other.pem")
    said = weightgate("gate", twin.parent, twin.children["benign"], "--key", "other.pem", "--out", "run")
    assert (said.code, "may not write" in said.err) == (2, True)
    assert len(Ledger.open(repository).entries) == 1
    with pytest.raises(InputError, match="no ledger"):
        gate(twin.parent, twin.children["benign"], key=repository / "key.pem", ledger=repository / "nowhere")


def test_a_killed_run_stays_in_the_log_and_resume_ends_it(twin: Twin, repository: Path, weightgate: Command) -> None:
    """Unfinished, it is there for good; resumed, it is the same attempt."""
    arguments = ["gate", str(twin.parent), str(twin.children["benign"]), "--key", "key.pem", "--out", "run"]
    script = "from weightgate.audit.cli.main import run; run()"
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.DEVNULL)
    for _ in range(3000):
        if len(list((repository / ".weightgate" / "attempts").glob("*.json"))) == 1 or process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (node,) = read_history(Ledger.open(repository)).nodes.values()
    assert node.status == "unfinished"
    assert not Path("run/verdict.json").exists()
    found = verify_ledger(repository, [load_public(repository / "key.pub")])
    assert "1 unfinished" in next(check.detail for check in found.checks if check.name == "attempts")
    weightgate(*arguments, "--resume", "-q")
    (again,) = read_history(Ledger.open(repository)).nodes.values()
    assert [audited.id for audited in again.attempts] == [node.attempts[0].id]
    assert again.attempts[0].verdict is not None
