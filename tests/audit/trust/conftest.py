"""A run as a gate leaves it, made without a model: small weights, no probes, and a policy that asks for one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import weightgate
from weightgate.audit.gate import _write
from weightgate.audit.run_folder import RunFolder
from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import build_changeset, statement
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import SigningKey, generate
from weightgate.lineage.signing.schemes import KeyKind
from weightgate.lineage.signing.second import countersign
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.folder import sign_draft, write_draft
from weightgate.lineage.trust.root import TrustRoot
from weightgate.lineage.weights.update import open_update
from weightgate.policies.decide import decide
from weightgate.policies.policy import load_policy
from weightgate.reports.record import AuditRecord

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PEOPLE: dict[str, KeyKind] = {
    "ann": "ed25519",
    "bob": "ecdsa-p256",
    "cleo": "ed25519",
    "dan": "ml-dsa-65",
    "eve": "ecdsa-p256",
    "ci": "ed25519",
    "ci-pq": "ml-dsa-65",
}


@dataclass(frozen=True)
class Office:
    """A folder with everybody's keys, a trust root, and one audited update."""

    at: Path
    keys: dict[str, SigningKey] = field(default_factory=dict)

    @property
    def trust(self) -> Path:
        """Folder of the trust root."""
        return self.at / "trust"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.at / "run"

    def change(self, root: TrustRoot, *signers: str) -> TrustRoot:
        """Write a root as a draft and have it signed in turn."""
        write_draft(self.trust, root)
        for name in signers:
            done = sign_draft(self.trust, self.keys[name])
        assert done.complete, done.missing
        return done.root

    def audit(
        self, *, verdict: str = "review", signer: str = "ci", second: str | None = None, name: str = "first"
    ) -> Path:
        """Write a run folder as the gate does."""
        policy = self.at / f"{name}.yaml"
        policy.write_text(
            f"name: {name}\nversion: 1\ndescription: For a test.\nlevel: 0.95\n"
            f"require: [{{probe: x.y, on_missing: {verdict}}}]\n"
            "budgets: [{metric: x.y/z, max_rise: 1, why: It must.}]\n"
        )
        rules, key, update = load_policy(policy), self.keys[signer], open_update(self.at / "parent", self.at / "child")
        changeset = build_changeset(
            update,
            author=key.key_id,
            intent="",
            created="2030-01-01T00:00:00Z",
            inputs=(),
            parent_changeset=None,
            environment={},
            parent_name="parent",
            child_name="child",
        )
        payload = statement(changeset)
        record = AuditRecord(
            tool=f"weightgate {weightgate.__version__}",
            created="2030-01-01T00:00:00Z",
            seed=0,
            engine={},
            changeset_digest=sha256_hex(payload),
            changeset=changeset,
            results=(),
            policy=rules,
            decision=decide(rules, ()),
        )
        assert record.decision.verdict == verdict
        folder = RunFolder.create(self.run, plan={}, name="run", now=NOW, resume=False)
        folder.write("changeset.json", sign(payload, key).to_bytes())
        if second:
            folder.write("changeset.second.json", countersign(payload, self.keys[second]))
        _write(folder, record, key, self.keys[second] if second else None)
        return folder.path


def checkpoint(folder: Path, seed: int) -> None:
    """A model folder of one tensor."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    weights = np.random.default_rng(seed).standard_normal((4, 4)).astype(np.float32)
    save_file({"layer.weight": weights}, folder / "model.safetensors")


@pytest.fixture(scope="session")
def _office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("office")
    office = Office(at, {name: generate(at / f"{name}.pem", kind) for name, kind in PEOPLE.items()})
    checkpoint(at / "parent", 0)
    checkpoint(at / "child", 1)
    root = edit.set_expiry(edit.new_root(NOW), NOW, 365)
    for name in ("ann", "bob"):
        root = edit.add_key(root, office.keys[name].public, "root", holder=name)
    root = edit.set_threshold(root, "root", 2)
    for name in ("cleo", "dan", "eve"):
        root = edit.add_key(root, office.keys[name].public, "safety", holder=name)
    root = edit.set_threshold(root, "safety", 2)
    root = edit.add_key(root, office.keys["ci"].public, "signer", holder="ci")
    office.change(edit.add_key(root, office.keys["ci-pq"].public, "signer", holder="ci-pq"), "ann", "bob")
    office.audit()
    return at


@pytest.fixture
def office(_office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Safety is 2 of cleo (Ed25519), dan (ML-DSA-65) and eve (P-256); ann and bob keep the root; ci signs."""
    from weightgate.lineage.signing.keys import load_private

    at = tmp_path / "office"
    shutil.copytree(_office, at)
    return Office(at, {name: load_private(at / f"{name}.pem") for name in PEOPLE})
