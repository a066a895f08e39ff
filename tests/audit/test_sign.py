"""weightgate sign and verify on a model: the audit's statements travel with the model and belong to it alone."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from weightgate.audit.sign import sign
from weightgate.audit.verify_model import verify_signed_model
from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.changeset import build_changeset, statement
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.claims import append_claims, read_claims
from weightgate.lineage.signing.envelope import read_envelope
from weightgate.lineage.signing.envelope import sign as sign_envelope
from weightgate.lineage.signing.keys import KeyKind, SigningKey, generate
from weightgate.lineage.signing.oms_statement import Manifest
from weightgate.lineage.weights.update import open_update
from weightgate.reports.statement import VerdictStatement, _document

if TYPE_CHECKING:
    from conftest import Command


def checkpoint(folder: Path, seed: int) -> Path:
    """A model folder of one tensor."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    weights = np.random.default_rng(seed).standard_normal((4, 4)).astype(np.float32)
    save_file({"layer.weight": weights}, folder / "model.safetensors")
    return folder


def adapter(folder: Path, seed: int) -> Path:
    """A LoRA adapter folder."""
    folder.mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["layer"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((1, 4)).astype(np.float32), rng.standard_normal((4, 1)).astype(np.float32)
    name = "base_model.model.layer"
    save_file({f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}, folder / "adapter_model.safetensors")
    return folder


def audit(folder: Path, parent: Path, child: Path, key: SigningKey) -> tuple[Path, Path]:
    """Changeset and verdict of an update, signed as a gate signs them."""
    folder.mkdir(parents=True)
    changeset = build_changeset(
        open_update(parent, child),
        author=key.key_id,
        intent="",
        created="2030-01-01T00:00:00Z",
        inputs=(),
        parent_changeset=None,
        environment={},
        parent_name="parent",
        child_name="child",
    )
    said = VerdictStatement(
        verdict="approve",
        verifier="weightgate",
        verifier_version="0.1.0",
        decided="2030-01-01T00:00:00Z",
        name="child",
        parent=changeset.parent.root,
        child=changeset.child.root,
        policy="default",
        policy_digest="0" * 64,
        changeset_digest=sha256_hex(statement(changeset)),
        probes=(),
        evidence={},
        record="0" * 64,
    )
    paths = folder / "changeset.json", folder / "verdict.json"
    for path, payload in zip(paths, (statement(changeset), canonical(_document(said))), strict=True):
        path.write_bytes(sign_envelope(payload, key).to_bytes())
    return paths


@dataclass(frozen=True)
class Case:
    """An audited model, not signed yet."""

    model: Path
    changeset: Path
    verdict: Path
    key: Path
    public: Path
    auditor: Path
    """Public key of who audited."""


def prepare(at: Path, auditor: KeyKind | None = None) -> Case:
    """Made anew; audited with the key that signs, or by an auditor with a key of this kind."""
    release = generate(at / "release.pem", "ecdsa-p256")
    signer = generate(at / "auditor.pem", auditor) if auditor else release
    model = checkpoint(at / "child", 1)
    changeset, verdict = audit(at / "run", checkpoint(at / "parent", 0), model, signer)
    public = at / "release.pub"
    return Case(model, changeset, verdict, at / "release.pem", public, at / "auditor.pub" if auditor else public)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """One key for everything, and no key of the user's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return prepare(tmp_path)


def test_the_statements_of_the_audit_travel_with_the_model(case: Case) -> None:
    """Payload and signature are those of the run, one bundle a line; the verdict is read from them."""
    made = sign(case.model, key=case.key, changeset=case.changeset, verdict=case.verdict)
    assert {"dirHash1", "tensorRoot", "checkpointRoot"} == set(made.manifest.digests)
    lines = (case.model / "claims.jsonl").read_bytes().splitlines()
    for line, path in zip(lines, (case.changeset, case.verdict), strict=True):
        bundle, envelope = json.loads(line), read_envelope(path)
        assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
        assert base64.b64decode(bundle["dsseEnvelope"]["payload"]) == envelope.payload
        assert base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]) == envelope.signature
        subject = json.loads(envelope.payload)["subject"][0]["digest"]["sha256"]
        assert subject == made.manifest.digests["checkpointRoot"]
    found = verify_signed_model(case.model, public_keys=[case.public])
    assert found.verdict == "approve"
    assert found.changeset == sha256_hex(read_envelope(case.changeset).payload)
    assert [check.name for check in found.checks] == ["model signature", "files", "claim 1", "claim 2"]


def test_the_auditor_may_be_another_than_the_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both keys have to be named, when signing and when verifying; an Ed25519 key signs claims only."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    case = prepare(tmp_path, "ed25519")
    with pytest.raises(IntegrityError, match="none of the keys to believe"):
        sign(case.model, key=case.key, verdict=case.verdict)
    assert not (case.model / "model.sig").exists()
    sign(case.model, key=case.key, verdict=case.verdict, public_keys=[case.auditor])
    with pytest.raises(IntegrityError, match="line 1: signed by"):
        verify_signed_model(case.model, public_keys=[case.public])
    assert verify_signed_model(case.model, public_keys=[case.public, case.auditor]).verdict == "approve"
    with pytest.raises(InputError, match="cannot sign models"):
        sign(case.model, key=tmp_path / "auditor.pem", force=True)


def test_claims_are_added_without_touching_the_signature(case: Case) -> None:
    """Once each; what is there stays as it is, byte for byte."""
    sign(case.model, key=case.key, changeset=case.changeset)
    signature, first = (case.model / "model.sig").read_bytes(), (case.model / "claims.jsonl").read_bytes()
    with pytest.raises(InputError, match="exists"):
        sign(case.model, key=case.key, verdict=case.verdict)
    for added in (1, 0):
        made = sign(case.model, key=None, verdict=case.verdict, public_keys=[case.public], append=True)
        assert made.added == added
    assert (case.model / "model.sig").read_bytes() == signature
    assert (case.model / "claims.jsonl").read_bytes().startswith(first)
    assert len(read_claims(case.model / "claims.jsonl")) == 2
    assert verify_signed_model(case.model, public_keys=[case.public]).verdict == "approve"


def test_a_claim_over_another_model_is_refused(case: Case, tmp_path: Path) -> None:
    """When it is laid beside the model, and when it was smuggled in afterwards; the line is named."""
    other = checkpoint(tmp_path / "other", 2)
    with pytest.raises(IntegrityError, match="another model"):
        sign(other, key=case.key, verdict=case.verdict)
    assert not (other / "model.sig").exists()
    sign(case.model, key=case.key, changeset=case.changeset)
    sign(other, key=case.key)
    shutil.copy(case.model / "claims.jsonl", other)
    with pytest.raises(IntegrityError, match=r"claims.jsonl, line 1: about another model"):
        verify_signed_model(other, public_keys=[case.public])


def test_an_adapter_is_bound_with_the_model_it_is_applied_to(case: Case, tmp_path: Path) -> None:
    """Its root depends on the base, which the audit names."""
    key = SigningKey(generate(tmp_path / "k.pem", "ecdsa-p256")._key)
    lora = adapter(tmp_path / "lora", 3)
    changeset, verdict = audit(tmp_path / "run2", tmp_path / "parent", lora, key)
    made = sign(lora, key=tmp_path / "k.pem", changeset=changeset, verdict=verdict)
    assert "checkpointRoot" not in made.manifest.digests
    assert verify_signed_model(lora, public_keys=[tmp_path / "k.pub"]).verdict == "approve"
    other = adapter(tmp_path / "lora2", 4)
    with pytest.raises(IntegrityError, match="another model"):
        sign(other, key=tmp_path / "k.pem", changeset=changeset)


@pytest.mark.parametrize(
    ("digests", "why"),
    [
        (lambda made: {"sha256": made.root, "dirHash1": made.digests["dirHash1"]}, None),
        (lambda made: {"tensorRoot": made.digests["tensorRoot"]}, None),
        (lambda made: {"sha256": made.root}, "binds its file names"),
        (lambda made: {"sha256": made.root, "dirHash1": "0" * 64}, "another model"),
        (lambda made: {"sha256": "0" * 64, "dirHash1": made.digests["dirHash1"]}, "another model"),
        (lambda _: {"md5": "0"}, "binds its file names"),
        (lambda _: [], "malformed"),
    ],
)
def test_other_attestations_name_the_model_by_a_digest_that_binds_names(
    digests: Callable[[Manifest], object], why: str | None, case: Case
) -> None:
    """Two digest sets match in in-toto if any one does; here all that can be compared have to."""
    made = sign(case.model, key=case.key).manifest
    key = SigningKey(generate(case.model.parent / "third.pem")._key)
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "x", "digest": digests(made)}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {"result": "PASSED"},
    }
    append_claims(case.model / "claims.jsonl", [sign_envelope(json.dumps(document).encode(), key)])
    keys = [case.public, case.model.parent / "third.pub"]
    if why is None:
        assert "test-result" in verify_signed_model(case.model, public_keys=keys).checks[-1].detail
    else:
        with pytest.raises(IntegrityError, match=why):
            verify_signed_model(case.model, public_keys=keys)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_of_a_signed_model_can_change(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any bit of any file, claims included: an integrity error, or another spelling of the same JSON."""
    case = _signed(tmp_path_factory)
    names = sorted(path.name for path in case.model.iterdir())
    assert names == ["claims.jsonl", "config.json", "model.safetensors", "model.sig"]
    file = case.model / data.draw(st.sampled_from(names))
    content = file.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    before = verify_signed_model(case.model, public_keys=[case.public])
    try:
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
        try:
            after = verify_signed_model(case.model, public_keys=[case.public])
        except IntegrityError:
            return
        assert file.name in ("claims.jsonl", "model.sig")
        assert after == before
    finally:
        file.write_bytes(content)


_MADE: list[Case] = []


def _signed(factory: pytest.TempPathFactory) -> Case:
    """One signed model for all examples, each of which puts back what it changed."""
    if not _MADE:
        case = prepare(factory.mktemp("signed"))
        sign(case.model, key=case.key, changeset=case.changeset, verdict=case.verdict)
        _MADE.append(case)
    return _MADE[0]


def test_a_cut_file_of_claims_is_refused(case: Case) -> None:
    """A last line without its end, an empty line, and a line that is no bundle."""
    sign(case.model, key=case.key, changeset=case.changeset)
    path = case.model / "claims.jsonl"
    content = path.read_bytes()
    for broken in (content[:-1], content + b"\n", content + b"{}\n"):
        path.write_bytes(broken)
        with pytest.raises(IntegrityError, match=r"claims\.jsonl"):
            verify_signed_model(case.model, public_keys=[case.public])


def test_a_folder_that_is_no_checkpoint_is_signed_and_says_so(tmp_path: Path, case: Case) -> None:
    """OMS signs any files; an audit's claims need a checkpoint."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("{}")
    made = sign(folder, key=case.key)
    assert set(made.manifest.digests) == {"dirHash1"}
    assert "no checkpoint digests" in made.note
    with pytest.raises(InputError):
        sign(folder, key=None, changeset=case.changeset, public_keys=[case.public], append=True)


def test_the_commands_sign_and_verify(case: Case, weightgate: Command) -> None:
    """With --json one object each; exit codes tell bad input from what does not check out."""
    said = weightgate("sign", case.model, "--key", case.key, "--changeset", case.changeset, "--json")
    assert said.code == 0, said.err
    assert said.json["claims"][0]["kind"] == "changeset"
    assert said.json["ignore_paths"] == ["claims.jsonl", "model.second.json", "model.sig", "model.sig.tsr"]
    assert weightgate("sign", case.model, "--key", case.key).code == 2
    assert weightgate("sign", case.model, "--force").code == 2
    more = weightgate("sign", case.model, "--append", "--verdict", case.verdict, "--public-key", case.public)
    assert more.code == 0, more.err
    good = weightgate("verify", case.model, "--public-key", case.public, "--json")
    assert (good.code, good.json["verified"], good.json["verdict"]) == (0, True, "approve")
    assert weightgate("verify", case.model).code == 2
    assert weightgate("verify", case.model, "--public-key", case.public, "--identity", "a@b").code == 2
    (case.model / "extra.py").touch()
    bad = weightgate("verify", case.model, "--public-key", case.public, "--json")
    assert (bad.code, bad.json["exit_code"]) == (4, 4)
    assert "extra.py" in bad.json["error"]
    # Code shapes behaviour: a signature may be told to leave it out, what was audited cannot.
    assert weightgate("verify", case.model, "--public-key", case.public, "--ignore-paths", "extra.py").code == 4
    (case.model / "extra.py").rename(case.model / "extra.log")
    assert weightgate("verify", case.model, "--public-key", case.public, "--ignore-paths", "extra.log").code == 0
    assert weightgate("verify", case.model, "--public-key", case.public, "--ignore-unsigned-files").code == 0
    assert weightgate("verify", case.changeset, "--public-key", case.public).code == 0
    assert weightgate("verify", case.changeset, "--public-key", case.public, "--identity", "a@b").code == 2
    assert weightgate("verify", case.changeset, "--public-key", case.public, "--public-key", case.public).code == 2
