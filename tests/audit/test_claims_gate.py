"""Claims from the command line to the verdict, and back through verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin

PROBES = ("--probes", "integrity.claims,poisoning.files", "--policy", "default")


def written(folder: Path, text: str, name: str = "claims.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_false_claim_blocks_and_is_in_the_evidence(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """The finding is in the run's evidence, the policy's findings rule fires, and the claim is in the changeset."""
    claims = written(tmp_path, "frozen: ['*']\nmax_relative_norm: 1.0e-9\n")
    said = weightgate(
        "gate", twin.parent, twin.children["benign"], "--claims", claims, "--out", tmp_path / "run", *PROBES, "--json"
    )
    assert said.code == 1, said.err
    evidence = json.loads((tmp_path / "run/evidence/integrity.claims.json").read_bytes())
    assert {found["rule"] for found in evidence["findings"]} == {
        "integrity.claims/frozen",
        "integrity.claims/max_relative_norm",
    }
    assert evidence["control"]["fired"]
    rules = {rule["rule"]: rule["verdict"] for rule in said.json["decision"]["rules"]}
    assert rules["findings"] == "block"
    assert said.json["changeset"]["claims"]["frozen"] == ["*"]
    run = ("verify", tmp_path / "run", "--model", twin.children["benign"], "--parent", twin.parent)
    refused = weightgate(*run)
    assert refused.code == 4
    assert "claim 'frozen' does not hold" in refused.err


def test_true_claims_verify_offline(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """A third party with both models checks 'only these modules changed' from the changeset alone."""
    claims = written(tmp_path, json.dumps({"only_modules": ["*"], "unchanged": ["config"]}), "claims.json")
    said = weightgate(
        "gate", twin.parent, twin.children["benign"], "--claims", claims, "--out", tmp_path / "run", *PROBES, "--json"
    )
    rules = {rule["rule"]: rule for rule in said.json["decision"]["rules"]}
    assert rules["findings"]["verdict"] == "approve", rules["findings"]["message"]
    changeset = tmp_path / "run/changeset.json"
    good = weightgate("verify", changeset, "--model", twin.children["benign"], "--parent", twin.parent, "--json")
    assert good.code == 0, good.err
    checks = {check["name"]: check["detail"] for check in good.json["checks"]}
    assert checks["claims"] == "only_modules, unchanged: held against the bytes"
    swapped = weightgate("verify", changeset, "--model", twin.children["benign"], "--parent", twin.children["eroded"])
    assert swapped.code == 4
    alone = weightgate("verify", changeset, "--parent", twin.parent)
    assert alone.code == 2


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (("claims.yaml", "kind: full\nkind: partial\n"), "given twice"),
        (("claims.yaml", "a: &a [*a]\n"), "alias"),
        (("claims.yaml", "frozen: !!python/object/apply:os.system ['true']\n"), "tags"),
        (("claims.json", '{"kind": NaN}'), "NaN"),
        (("claims.yaml", "harmless: true\n"), "harmless"),
        (("claims.yaml", ""), "empty"),
        (("claims.yaml", "x" * 1_000_001), "larger than"),
    ],
)
def test_hostile_claims_are_refused(
    claims: tuple[str, str], message: str, twin: Twin, weightgate: Command, tmp_path: Path
) -> None:
    """One clear error, exit 2, before anything is read or run."""
    said = weightgate("gate", twin.parent, twin.children["benign"], "--claims", written(tmp_path, *reversed(claims)))
    assert (said.code, message in said.err) == (2, True), said.err


def test_claims_without_their_probe_are_refused(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """Claims that nothing checks would be signed as if they held."""
    claims = written(tmp_path, "kind: full\n")
    said = weightgate("gate", twin.parent, twin.children["benign"], "--claims", claims, "--probes", "poisoning.files")
    assert said.code == 2
    assert "integrity.claims" in said.err


def test_blake3_roots_are_signed_and_checked_again(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """Both sides have one in the changeset, and verify computes that of the child again."""
    child = twin.children["benign"]
    said = weightgate("gate", twin.parent, child, "--blake3", "--out", tmp_path / "run", *PROBES, "--json")
    assert all(len(said.json["changeset"][side]["tensor_root_blake3"]) == 64 for side in ("parent", "child"))
    assert weightgate("verify", tmp_path / "run", "--model", child).code == 0
