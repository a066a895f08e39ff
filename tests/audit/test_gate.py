"""The main job on the tiny twin: right verdicts, complete folders, evidence that cannot be changed, runs that go on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightgate.audit.gate import gate
from weightgate.audit.verify import verify
from weightgate.lineage.errors import WeightgateError
from weightgate.lineage.signing.keys import generate, load_public

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin
    from weightgate.reports.record import AuditRecord


@dataclass(frozen=True)
class Runs:
    """Two finished runs and the key that signed them."""

    key: Path
    public: Path
    benign: Path
    eroded: Path
    records: dict[str, AuditRecord]


@pytest.fixture(scope="module")
def runs(twin: Twin, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    base = tmp_path_factory.mktemp("runs")
    generate(base / "key.pem")
    folders, records = {}, {}
    for name in ("benign", "eroded"):
        records[name], folders[name] = gate(
            twin.parent,
            twin.children[name],
            data=[twin.data[name]],
            held_out=[twin.held_out[name]] if name in twin.held_out else (),
            key=base / "key.pem",
            out=base / name,
        )
    return Runs(base / "key.pem", base / "key.pub", folders["benign"], folders["eroded"], records)


def test_the_benign_update_is_approved(runs: Runs) -> None:
    """Every budget holds with its whole interval, on an update whose truth is harmless."""
    decision = runs.records["benign"].decision
    assert decision.verdict == "approve", [r.message for r in decision.rules if r.verdict != "approve"]


def test_the_eroded_update_is_blocked_for_its_refusals(runs: Runs) -> None:
    """The update that lost its refusals is blocked, and by the rules about refusals."""
    decision = runs.records["eroded"].decision
    blocking = {rule.metric for rule in decision.rules if rule.verdict == "block"}
    assert decision.verdict == "block"
    assert "alignment.refusal/refusal_rate_harmful" in blocking


def test_every_probe_fired_on_its_planted_defect(runs: Runs) -> None:
    """A probe that is blind to its own control would be failed; none is."""
    for record in runs.records.values():
        outcomes = {r.probe: r.control.fired for r in record.results if r.control is not None}
        assert len(outcomes) >= 5
        assert all(outcomes.values()), outcomes


def test_a_run_folder_holds_what_it_promises(runs: Runs) -> None:
    """Record, both signed statements, both reports, one evidence file a probe, the row index, and no leftovers."""
    names = {path.name for path in runs.benign.iterdir()}
    assert names == {"changeset.json", "evidence", "record.json", "report.html", "report.md", "rows", "verdict.json"}
    assert [path.suffix for path in (runs.benign / "rows").iterdir()] == [".digests"]
    probes = {result.probe for result in runs.records["benign"].results}
    assert {path.stem for path in (runs.benign / "evidence").iterdir()} == probes
    assert json.loads((runs.benign / "record.json").read_bytes())["decision"]["verdict"] == "approve"


def test_both_runs_verify_and_say_what_was_checked(runs: Runs) -> None:
    """Signatures, digests, evidence, the decision made again, and the reports."""
    for folder, verdict in ((runs.benign, "approve"), (runs.eroded, "block")):
        result = verify(folder, load_public(runs.public))
        assert result.verdict == verdict
        assert len(result.checks) >= 8


def test_the_child_is_hashed_again_on_request(runs: Runs, twin: Twin) -> None:
    """`--model` accepts the audited child and no other."""
    key = load_public(runs.public)
    assert any(c.name == "model" for c in verify(runs.benign, key, model=twin.children["benign"]).checks)
    with pytest.raises(WeightgateError):
        verify(runs.benign, key, model=twin.children["eroded"])


def test_another_key_is_not_believed(runs: Runs, tmp_path: Path) -> None:
    """A run signed by somebody else does not verify with one's own key."""
    generate(tmp_path / "other.pem")
    with pytest.raises(WeightgateError):
        verify(runs.benign, load_public(tmp_path / "other.pub"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_verifies(runs: Runs, tmp_path: Path, data: st.DataObject) -> None:
    """Flipping any bits of any byte of any file of a run is found."""
    files = sorted(path for path in runs.benign.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(runs.benign, copy)
    (copy / file.relative_to(runs.benign)).write_bytes(content)
    with pytest.raises(WeightgateError):
        verify(copy, load_public(runs.public))


@pytest.mark.parametrize("name", ["changeset.json", "verdict.json", "record.json", "evidence/poisoning.files.json"])
def test_a_missing_file_does_not_verify(runs: Runs, tmp_path: Path, name: str) -> None:
    """Nothing that was signed may be left out."""
    copy = shutil.copytree(runs.benign, tmp_path / "copy")
    (copy / name).unlink()
    with pytest.raises(WeightgateError):
        verify(copy, load_public(runs.public))


def test_an_added_evidence_file_does_not_verify(runs: Runs, tmp_path: Path) -> None:
    """Nothing may be slipped in."""
    copy = shutil.copytree(runs.benign, tmp_path / "copy")
    (copy / "evidence" / "alignment.more.json").write_text("{}")
    with pytest.raises(WeightgateError, match="added or removed"):
        verify(copy, load_public(runs.public))


def test_the_same_audit_gives_the_same_evidence(runs: Runs, twin: Twin, tmp_path: Path) -> None:
    """Evidence is a function of models, data, probes and seed: byte-identical on a second run, all of it cached."""
    record, folder = gate(
        twin.parent,
        twin.children["benign"],
        data=[twin.data["benign"]],
        held_out=[twin.held_out["benign"]],
        key=runs.key,
        out=tmp_path / "again",
        controls=False,
    )
    assert sum(cost.cached for cost in record.costs) == sum(cost.requests for cost in record.costs)
    for result in record.results:
        before = next(r for r in runs.records["benign"].results if r.probe == result.probe)
        assert result == before.model_copy(update={"control": None})
    assert (folder / "verdict.json").exists()


def test_an_identical_child_moves_nothing(twin: Twin, tmp_path: Path) -> None:
    """Where parent equals child no probe sees harm, and the update is called identical."""
    generate(tmp_path / "key.pem")
    record, _ = gate(twin.parent, twin.parent, key=tmp_path / "key.pem", out=tmp_path / "run", controls=False)
    assert record.changeset.delta.kind == "identical"
    assert all(abs(m.effect) < 1e-9 for r in record.results for m in r.measurements)
    assert not [f for r in record.results for f in r.findings if f.severity in ("medium", "high", "critical")]


def test_verify_needs_no_torch_and_less_than_a_second(runs: Runs) -> None:
    """The verifier is quick and light: wall time of the whole process, the best of three on a busy machine."""
    code = (
        "import sys; sys.argv = ['weightgate', *sys.argv[1:]]\n"
        "from weightgate.audit.cli.main import run\n"
        "try: run()\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    spent = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code, "verify", runs.benign, "--public-key", runs.public], check=True)
        spent.append(time.monotonic() - started)
    assert min(spent) < 2.0, spent


def test_a_killed_run_goes_on_without_scoring_again(
    twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL there is no verdict; --resume finishes the run and pays only for what was not scored yet."""
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path / "cache"))
    generate(tmp_path / "key.pem")
    run = tmp_path / "run"
    command = [sys.executable, "-c", "from weightgate.audit.cli.main import run; run()", "gate", str(twin.parent)]
    command += [str(twin.children["benign"]), "--key", str(tmp_path / "key.pem"), "--out", str(run)]
    command += ["--no-controls", "--probes", "alignment.*"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    scores = tmp_path / "cache"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and sum(f.stat().st_size for f in scores.rglob("*") if f.is_file()) < 200_000:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "verdict.json").exists()

    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, "--resume" in refused.stderr) == (2, True)
    resumed = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True, check=False)
    record = json.loads(resumed.stdout)
    assert (run / "verdict.json").exists()
    assert sum(cost["cached"] for cost in record["costs"]) > 0
    verify(run, load_public(tmp_path / "key.pub"))


def test_no_time_is_no_approval(
    twin: Twin, weightgate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time budget spent probes are skipped, with the reason, and the verdict is review."""
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path / "cold"))
    said = weightgate("gate", twin.parent, twin.children["benign"], "--max-minutes", 0, "--json", "--no-controls")
    skipped = [r["reason"] for r in said.json["results"] if r["status"] == "skipped"]
    assert said.code == 3
    assert [reason for reason in skipped if "--max-minutes" in reason]


def test_more_reports_lie_in_the_run_and_are_verified(runs: Runs, twin: Twin, weightgate: Command) -> None:
    """`--format` with a list adds reports to the run; verify renders them again, and refuses an edited one."""
    arguments = ("--data", twin.data["eroded"], "--key", runs.key, "--out", "run", "--format", "md,sarif,junit")
    said = weightgate("gate", twin.parent, twin.children["eroded"], *arguments)
    assert said.code == 1, said.err
    folder = Path("run")
    assert {path.name for path in (folder / "reports").iterdir()} == {"weightgate.sarif", "junit.xml"}
    assert "junit.xml" in said.out
    checks = weightgate("verify", folder, "--public-key", runs.public, "--json")
    assert {"reports/junit.xml", "reports/weightgate.sarif"} <= {check["name"] for check in checks.json["checks"]}
    junit = folder / "reports" / "junit.xml"
    junit.write_text(junit.read_text().replace("<failure", "<skipped").replace("</failure", "</skipped"))
    assert weightgate("verify", folder, "--public-key", runs.public).code == 4
