"""A signed model under a trust root: everything that approved it travels with it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.approve import approve
from weightgate.audit.sign import sign
from weightgate.audit.verify import Verification
from weightgate.audit.verify_model import verify_signed_model
from weightgate.audit.verify_trust_model import verify_trusted_model
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import generate
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.folder import open_draft

if TYPE_CHECKING:
    from conftest import Command, Office

NOW = datetime(2030, 1, 2, tzinfo=UTC)


def prepare(office: Office, *statements: str) -> None:
    """A release key among the signers, a root that asks for second signatures, and an approved run with them."""
    office.keys["release"] = generate(office.at / "release.pem", "ecdsa-p256")
    root = edit.add_key(open_draft(office.trust), office.keys["release"].public, "signer", holder="release")
    for statement in statements:
        root = edit.set_second_signature(root, statement, "ml-dsa-65")  # type: ignore[arg-type]
    office.change(root, "ann", "bob")
    shutil.rmtree(office.run)
    office.audit(second="ci-pq")
    for name in ("cleo", "dan"):
        approve(office.run, office.keys[name], role="safety", trust=office.trust, now=NOW)


def release(office: Office, *, approvals: bool = True, second: bool = True) -> None:
    """Sign the model, with everything beside it."""
    sign(
        office.at / "child",
        key=office.at / "release.pem",
        changeset=office.run / "changeset.json",
        verdict=office.run / "verdict.json",
        approvals=sorted((office.run / "approvals").iterdir()) if approvals else (),
        second_key=office.at / "ci-pq.pem" if second else None,
        public_keys=[office.at / f"{name}.pub" for name in ("ci", "ci-pq", "cleo", "dan")],
        force=True,
    )


def check(office: Office) -> Verification:
    """What verifying the model says."""
    return verify_trusted_model(office.at / "child", office.trust, now=NOW)


def test_a_model_carries_its_approvals_and_second_signatures(office: Office) -> None:
    """One folder: signature, changeset, verdict, each signed twice, and two approvals."""
    prepare(office, "model", "changeset", "verdict")
    release(office)
    found = check(office)
    assert found.roles[0].count == 2
    assert any(entry.name == "second model signature" for entry in found.checks)
    assert len((office.at / "child" / "claims.jsonl").read_bytes().splitlines()) == 6
    keys = [office.at / f"{name}.pub" for name in ("release", "ci", "ci-pq", "cleo", "dan")]
    assert verify_signed_model(office.at / "child", public_keys=keys).verdict == "review"
    for line in (office.at / "child" / "claims.jsonl").read_bytes().splitlines():
        assert len(json.loads(line)["dsseEnvelope"]["signatures"]) == 1
    with pytest.raises(IntegrityError, match="expired"):
        verify_trusted_model(office.at / "child", office.trust, now=NOW + timedelta(days=400))


def test_what_is_missing_is_said(office: Office) -> None:
    """A second signature of the model, of a claim, an approval, the verdict."""
    prepare(office, "model", "verdict")
    release(office, second=False)
    with pytest.raises(IntegrityError, match=r"model\.sig has no second signature"):
        check(office)
    release(office, approvals=False)
    (office.at / "child" / "claims.jsonl").unlink()
    with pytest.raises(IntegrityError, match="carries no verdict"):
        check(office)
    (office.run / "verdict.second.json").rename(office.at / "aside")
    release(office, approvals=False)
    with pytest.raises(IntegrityError, match=r"verdict .* has no second signature"):
        check(office)
    (office.at / "aside").rename(office.run / "verdict.second.json")
    release(office, approvals=False)
    with pytest.raises(IntegrityError, match="safety 0 of 2"):
        check(office)
    release(office)
    check(office)


def test_approvers_are_believed_for_approvals_only(office: Office) -> None:
    """Their keys sign neither models nor verdicts."""
    prepare(office)
    shutil.rmtree(office.run)
    office.audit(signer="cleo")
    sign(
        office.at / "child",
        key=office.at / "release.pem",
        verdict=office.run / "verdict.json",
        public_keys=[office.at / "cleo.pub"],
    )
    with pytest.raises(IntegrityError, match="none of the keys to believe"):
        check(office)
    sign(office.at / "child", key=office.at / "eve.pem", force=True)
    with pytest.raises(IntegrityError):
        check(office)


def test_a_revoked_approver_of_a_model(office: Office) -> None:
    """The reason is said here, too."""
    prepare(office)
    release(office)
    check(office)
    gone = edit.remove_key(open_draft(office.trust), office.keys["cleo"].key_id, revoke="left", now=NOW)
    office.change(gone, "ann", "bob")
    with pytest.raises(IntegrityError, match="revoked"):
        check(office)


def test_an_approval_of_another_model_is_not_laid_beside(office: Office, tmp_path: Path) -> None:
    """It is bound to the root of the weights."""
    prepare(office)
    for file in (office.run / "approvals").iterdir():
        with pytest.raises(IntegrityError, match="another model"):
            sign(
                office.at / "parent",
                key=office.at / "release.pem",
                approvals=[file],
                public_keys=[office.at / f"{name}.pub" for name in ("cleo", "dan")],
            )
    with pytest.raises(InputError, match="both keys are ECDSA P-256"):
        sign(office.at / "child", key=office.at / "release.pem", second_key=office.at / "eve.pem")


def test_the_commands(office: Office, weightgate: Command) -> None:
    """Sign with a second key and approvals, verify with the root alone."""
    prepare(office, "model")
    files = sorted((office.run / "approvals").iterdir())
    base = ["sign", office.at / "child", "--key", office.at / "release.pem", "--second-key", office.at / "ci-pq.pem"]
    base += ["--changeset", office.run / "changeset.json", "--verdict", office.run / "verdict.json"]
    for file in files:
        base += ["--approval", file]
    for name in ("ci", "ci-pq", "cleo", "dan"):
        base += ["--public-key", office.at / f"{name}.pub"]
    said = weightgate(*base, "--json")
    assert said.code == 0, said.out
    done = weightgate("verify", office.at / "child", "--trust", office.trust, "--json")
    assert (done.code, done.json["roles"][0]["count"]) == (0, 2), done.out
    (office.at / "child" / "model.second.json").write_bytes(files[0].read_bytes())
    assert weightgate("verify", office.at / "child", "--trust", office.trust).code == 4
