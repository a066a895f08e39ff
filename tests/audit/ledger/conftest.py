"""A repository with a ledger, tiny models, and audits whose verdict is chosen: what is tested is the book-keeping."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import weightgate
from weightgate.audit.history import History, read_history
from weightgate.audit.ledger import Announced, Writer, announce
from weightgate.audit.ledger_changes import init, propose
from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.changeset import statement
from weightgate.lineage.history.layout import FOLDER
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import SigningKey, generate, load_private
from weightgate.policies.decide import decide
from weightgate.policies.policy import Policy, load_policy
from weightgate.reports.record import AttemptRef, AuditRecord
from weightgate.reports.statement import verdict_statement

TIME = "2026-01-02T03:04:05Z"
TENSORS = ("embed", "layer.0.k", "layer.0.q", "layer.1.k", "layer.1.q", "norm")
POLICY = (
    "name: {name}\nversion: 1\nlevel: 0.95\nrequire: [{{probe: x.y, on_missing: {verdict}}}]\n"
    "budgets: [{{metric: x.y/z, max_rise: 1, on_missing: {budget}}}]\n"
)


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Repository:
    """A git repository, its ledger, and the models that were made in it."""

    at: Path
    key: SigningKey
    weights: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The ledger."""
        return self.at / FOLDER

    @property
    def writer(self) -> Writer:
        """The ledger, open to write to."""
        return Writer.open(self.folder, self.key)

    @property
    def history(self) -> History:
        """The ledger, opened anew and understood."""
        return read_history(Ledger.open(self.folder))

    def model(self, name: str, parent: str | None = None, *changed: str, seed: int = 0) -> Path:
        """A model folder: new, or its parent with some tensors changed."""
        folder = self.at / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        chance = np.random.default_rng((seed, *name.encode()))
        fresh = {tensor: chance.standard_normal((3, 3)).astype(np.float32) for tensor in TENSORS}
        before = self.weights[parent] if parent else fresh
        self.weights[name] = {t: fresh[t] if t in changed else before[t] for t in TENSORS}
        save_file(self.weights[name], folder / "model.safetensors")
        return folder

    def propose(self, parent: str, child: str, *changed: str, data: Path | None = None, intent: str = "") -> str:
        """Make a child of a model that is there, and propose it."""
        folder = self.model(child, parent, *(changed or ("norm",)))
        given = [data] if data else []
        logged = propose(self.writer, self.at / "models" / parent, folder, intent=intent, data=given)
        return logged.entry.id

    def policy(self, verdict: str, name: str = "test") -> Path:
        """A policy by which an audit without evidence comes to ``verdict``."""
        ignored = {"approve": "ignore"}.get(verdict, verdict)
        path = self.at / f"{name}-{verdict}.yaml"
        path.write_text(POLICY.format(name=name, verdict=ignored, budget=ignored))
        return path

    def announce(
        self, update: str, policy: Policy | None = None, *, plan: str = "1", resume: bool = False
    ) -> Announced:
        """Announce an audit of an update."""
        writer = self.writer
        rules = policy or load_policy(writer.ledger.policy())
        changeset = writer.ledger.changesets[update]
        return announce(
            writer, changeset, policy=rules, probes=[("x.y", "1")], seed=0, plan=plan.rjust(64, "0"), resume=resume
        )

    def audit(self, update: str, verdict: str = "approve", policy: Policy | None = None) -> Announced:
        """Announce an audit and log its verdict."""
        attempt = self.announce(update, policy)
        self.finish(attempt, verdict, policy)
        return attempt

    def finish(self, attempt: Announced, verdict: str = "approve", policy: Policy | None = None) -> None:
        """Log a verdict on an attempt, signed as the gate signs it."""
        rules = policy or load_policy(attempt.writer.ledger.policy())
        record = AuditRecord(
            tool=f"weightgate {weightgate.__version__}",
            created=TIME,
            seed=0,
            engine={},
            changeset_digest=sha256_hex(statement(attempt.changeset)),
            changeset=attempt.changeset,
            results=(),
            policy=rules,
            decision=decide(rules, ()).model_copy(update={"verdict": verdict}),
            attempt=AttemptRef(id=attempt.id, number=attempt.number),
        )
        said = verdict_statement(record, {}, sha256_hex(canonical(record)))
        asked = said.replace(b'"probes":[]', b'"probes":[{"name":"x.y","version":"1"}]')
        attempt.finish(sign(asked, self.key))

    def commit(self, message: str = "more") -> None:
        """Commit the ledger."""
        git(self.at, "add", FOLDER)
        git(self.at, "commit", "-qm", message)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("made")
    git(at, "init", "-q")
    repository = Repository(at, generate(at / "key.pem"))
    model = repository.model("v1")
    init(at, model, policy=str(repository.policy("block")), key=at / "key.pem", others=())
    return at


@pytest.fixture
def repository(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository whose ledger begins with the model v1, in the working directory."""
    at = tmp_path / "repository"
    shutil.copytree(_made, at)
    monkeypatch.chdir(at)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    found = Repository(at, load_private(at / "key.pem"))
    chance = np.random.default_rng((0, *b"v1"))
    found.weights["v1"] = {tensor: chance.standard_normal((3, 3)).astype(np.float32) for tensor in TENSORS}
    return found
