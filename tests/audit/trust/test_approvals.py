"""Approvals: enough of the right people, each once, about exactly this update; anything else is exit code 4."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from weightgate.audit.approve import approve
from weightgate.audit.verify import Verification
from weightgate.audit.verify_trust import verify_trusted
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import pae, read_envelope, sign
from weightgate.lineage.signing.keys import generate
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.approval import approval_statement, read_approval
from weightgate.lineage.trust.folder import load_trust, open_draft

if TYPE_CHECKING:
    from conftest import Command, Office


def yes(office: Office, name: str, role: str = "safety", **options: Any) -> Path:
    """An approval by one of the office."""
    options = {"trust": office.trust, "now": _now(), **options}
    return approve(office.run, office.keys[name], role=role, reason="looks fine", **options).path


def check(office: Office, days: int = 1, **options: Any) -> Verification:
    """What verifying says, some days later."""
    return verify_trusted(office.run, office.trust, now=_now(days), **options)


def _now(days: int = 0) -> datetime:
    return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(days=days)


@pytest.mark.parametrize("pair", [("cleo", "dan"), ("dan", "eve"), ("eve", "cleo"), ("cleo", "dan", "eve")])
def test_two_of_three_approve_in_any_mix_of_schemes(office: Office, pair: tuple[str, ...]) -> None:
    """Ed25519, P-256 and ML-DSA approvers count alike; one alone is not enough, and who approved is named."""
    with pytest.raises(IntegrityError, match="safety 0 of 2"):
        check(office)
    yes(office, pair[0])
    with pytest.raises(IntegrityError, match="safety 1 of 2"):
        check(office)
    for name in pair[1:]:
        yes(office, name)
    (role,) = check(office).roles
    assert role.reached
    assert {approver.holder for approver in role.approvers} == set(pair)


def test_the_same_person_counts_once(office: Office, tmp_path: Path) -> None:
    """A second approval by one key, or by another key of one holder, adds nothing."""
    yes(office, "cleo")
    yes(office, "cleo", out=office.run / "approvals" / "again.json")
    with pytest.raises(IntegrityError, match=r"safety 1 of 2; not counted: cleo \(counted already\)"):
        check(office)
    other = generate(tmp_path / "other.pem")
    office.keys["other"] = other
    office.change(edit.add_key(open_draft(office.trust), other.public, "safety", holder="cleo"), "ann", "bob")
    yes(office, "other")
    with pytest.raises(IntegrityError, match="safety 1 of 2"):
        check(office)
    yes(office, "dan")
    assert check(office).roles[0].count == 2


def test_authors_do_not_count(office: Office, tmp_path: Path) -> None:
    """Neither when approving, nor when an approval of theirs is laid beside the run, under whatever key."""
    root = edit.set_one_role_per_key(open_draft(office.trust), only=False)
    root = edit.add_key(root, office.keys["ci"].public, "safety", holder="ci")
    office.keys["mine"] = generate(tmp_path / "mine.pem")
    office.change(edit.add_key(root, office.keys["mine"].public, "safety", holder="ci"), "ann", "bob")
    for name in ("ci", "mine"):
        with pytest.raises(InputError, match="author"):
            yes(office, name)
    smuggle(office, yes(office, "cleo"), "ci")
    smuggle(office, next((office.run / "approvals").glob("safety-*")), "mine")
    with pytest.raises(IntegrityError, match=r"safety 1 of 2; not counted: ci \(the author"):
        check(office)


def smuggle(office: Office, model: Path, name: str, **changes: object) -> Path:
    """An approval written without asking `approve`, signed by somebody."""
    approval, update = read_approval(read_envelope(model).payload, "x")
    approval = approval.model_copy(update={"approver": office.keys[name].key_id, **changes})
    path = office.run / "approvals" / f"smuggled-{name}.json"
    path.write_bytes(sign(approval_statement(approval, update), office.keys[name]).to_bytes())
    return path


def test_a_key_without_the_role_is_refused(office: Office) -> None:
    """A keeper of the root, a signer and a role that is not there approve nothing."""
    for name, role in (
        ("ann", "safety"),
        ("ci-pq", "safety"),
        ("cleo", "privacy"),
        ("cleo", "signer"),
        ("ann", "root"),
    ):
        with pytest.raises(InputError):
            yes(office, name, role)
    first = yes(office, "cleo")
    for name, role in (("ann", "safety"), ("ci-pq", "safety"), ("dan", "privacy"), ("ann", "root")):
        path = smuggle(office, first, name, role=role)
        with pytest.raises(IntegrityError, match="a role that"):
            check(office)
        path.unlink()


def test_an_unknown_and_a_false_signer_are_refused(office: Office, tmp_path: Path) -> None:
    """A key that the root does not have, and one that signs in the name of another."""
    first = yes(office, "cleo")
    office.keys["stranger"] = generate(tmp_path / "stranger.pem")
    path = smuggle(office, first, "stranger")
    with pytest.raises(IntegrityError, match="does not have"):
        check(office)
    path.unlink()
    smuggle(office, first, "dan", approver=office.keys["eve"].key_id)
    with pytest.raises(IntegrityError, match=r"but .* signed it"):
        check(office)


def test_an_approval_of_another_update_is_refused(office: Office) -> None:
    """The same people, another run of the same two models: the verdict is another."""
    yes(office, "cleo")
    yes(office, "dan")
    check(office)
    shutil.move(office.run / "approvals", office.at / "kept")
    shutil.rmtree(office.run)
    office.audit(name="second")
    with pytest.raises(IntegrityError, match="its verdict is not this one"):
        check(office, approvals=office.at / "kept")


def test_a_blocked_update_is_not_approved(office: Office) -> None:
    """People resolve a review; what a policy blocks they change, or they change the policy."""
    shutil.rmtree(office.run)
    office.audit(verdict="block")
    with pytest.raises(InputError, match="blocked"):
        yes(office, "cleo")
    shutil.rmtree(office.run)
    office.audit()
    yes(office, "cleo")


def test_a_revoked_approver_invalidates(office: Office) -> None:
    """What they signed before no longer verifies, and the reason is said; a key that was only removed is unknown."""
    yes(office, "cleo")
    yes(office, "dan")
    gone = edit.remove_key(open_draft(office.trust), office.keys["dan"].key_id, revoke="laptop stolen", now=_now())
    office.change(gone, "ann", "bob")
    with pytest.raises(IntegrityError, match=r"revoked at 2030-01-01T00:00:00Z .laptop stolen"):
        check(office)
    with pytest.raises(InputError, match="was revoked"):
        edit.add_key(open_draft(office.trust), office.keys["dan"].public, "safety")
    (office.run / "approvals" / f"safety-{office.keys['dan'].key_id[7:19]}.json").unlink()
    yes(office, "eve")
    check(office)


def test_a_revoked_signer_invalidates_the_run(office: Office) -> None:
    """The gate's own key, too."""
    gone = edit.remove_key(open_draft(office.trust), office.keys["ci"].key_id, revoke="leaked", now=_now())
    office.change(gone, "ann", "bob")
    with pytest.raises(IntegrityError, match=r"changeset.json: signed by .* revoked"):
        check(office)


def test_only_signers_sign_changesets(office: Office) -> None:
    """An approver's key is known, but not for this."""
    shutil.rmtree(office.run)
    office.audit(signer="cleo")
    with pytest.raises(IntegrityError, match="signed by cleo, who is no signer"):
        check(office)


def test_an_expired_root_is_not_believed(office: Office) -> None:
    """From the second of its expiry on; renewed, it is."""
    yes(office, "cleo")
    yes(office, "dan")
    check(office, days=364)
    with pytest.raises(IntegrityError, match="expired at 2031-01-01T00:00:00Z"):
        check(office, days=365)
    with pytest.raises(IntegrityError, match="expired"):
        yes(office, "eve", now=_now(365))
    office.change(edit.set_expiry(open_draft(office.trust), _now(365), 365), "ann", "bob")
    check(office, days=365)


def test_a_file_that_is_no_approval_is_refused(office: Office) -> None:
    """Whatever lies in the folder has to check out; a timestamp needs what it stamps."""
    yes(office, "cleo")
    yes(office, "dan")
    for name, data in (("x.json", b"{}"), ("notes.txt", b"hello"), ("gone.json.tsr", b"0")):
        (office.run / "approvals" / name).write_bytes(data)
        with pytest.raises(IntegrityError):
            check(office)
        (office.run / "approvals" / name).unlink()
    verdict = read_envelope(office.run / "verdict.json").payload
    (office.run / "approvals" / "v.json").write_bytes(sign(verdict, office.keys["eve"]).to_bytes())
    with pytest.raises(IntegrityError, match="not an approval"):
        check(office)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_of_an_approval_or_of_the_root_can_change(office: Office, data: st.DataObject) -> None:
    """Replaced, inserted or deleted, in an approval of each scheme or in the trust root: never a success."""
    folder = office.run / "approvals"
    if not folder.exists():
        for name in ("cleo", "dan", "eve"):
            yes(office, name)
        office.change(edit.set_threshold(open_draft(office.trust), "safety", 3), "ann", "bob")
    files = [*sorted(folder.iterdir()), office.trust / "root.json"]
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    edit_ = data.draw(st.sampled_from(["flip", "insert", "delete"]))
    new = {
        "flip": bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :],
        "insert": data.draw(st.binary(min_size=1, max_size=2)) + content[at:],
        "delete": content[at + 1 :],
    }[edit_]
    changed = content[:at] + new
    before = verify_trusted(office.run, office.trust, now=_now(1))
    file.write_bytes(changed)
    try:
        after = verify_trusted(office.run, office.trust, now=_now(1))
    except (IntegrityError, InputError):
        return
    finally:
        file.write_bytes(content)
    # JSON has other spellings of one root; what it says is the same, or it would not verify.
    assert file.name == "root.json"
    assert after == before


def test_plain_openssl_checks_an_approval(office: Office, tmp_path: Path) -> None:
    """The signature is over the DSSE encoding of the payload and nothing of ours; Ed25519 and P-256."""
    for name in ("cleo", "eve"):
        envelope = json.loads(yes(office, name).read_bytes())
        body = base64.b64decode(envelope["payload"])
        (tmp_path / "pae").write_bytes(pae(envelope["payloadType"], body))
        (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
        how = ["-rawin"] if name == "cleo" else ["-rawin", "-digest", "sha256"]
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", office.at / f"{name}.pub", *how]
        command += ["-in", tmp_path / "pae", "-sigfile", tmp_path / "sig"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert "Signature Verified Successfully" in done.stdout, done.stderr
        (tmp_path / "pae").write_bytes(b"x" + pae(envelope["payloadType"], body))
        assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_securesystemslib_verifies_where_its_scheme_allows(office: Office) -> None:
    """Ed25519 and ECDSA; its ML-DSA signs a hash of the encoding (TAP 21), ours the encoding itself."""
    for name, good in (("cleo", True), ("eve", True), ("dan", False)):
        envelope = PeerEnvelope.from_dict(json.loads(yes(office, name).read_bytes()))
        key = SSlibKey.from_crypto(office.keys[name].public.raw, keyid=office.keys[name].key_id)
        if good:
            assert envelope.verify([key], 1)
        else:
            with pytest.raises(VerificationError):
                envelope.verify([key], 1)


def test_without_a_trust_root_the_signer_is_named(office: Office, weightgate: Command) -> None:
    """`approve --public-key`; with neither of the two, or with both, the command asks."""
    base = ("approve", office.run, "--role", "safety", "--key", office.at / "cleo.pem")
    assert weightgate(*base).code == 2
    assert weightgate(*base, "--public-key", office.at / "ci.pub", "--trust", office.trust).code == 2
    assert weightgate(*base, "--public-key", office.at / "cleo.pub").code == 4
    done = weightgate(*base, "--public-key", office.at / "ci.pub", "--reason", "read the report", "--json")
    assert (done.code, done.json["role"], done.json["reason"]) == (0, "safety", "read the report")
    assert weightgate(*base, "--public-key", office.at / "ci.pub").code == 2  # exists
    odd = weightgate(
        "approve", office.run, "--role", "Über", "--key", office.at / "eve.pem", "--public-key", office.at / "ci.pub"
    )
    assert odd.code == 2, odd.err


def test_the_commands_say_who_approved(office: Office, weightgate: Command) -> None:
    """From keys to a verified run; a verifier sees the names and the counts, and 4 while one is missing."""
    assert load_trust(office.trust).version == 1
    verify = ("verify", office.run, "--trust", office.trust)
    first = weightgate(*verify, "--json")
    assert first.code == 4
    assert "safety 0 of 2" in first.json["error"]
    for name in ("cleo", "dan"):
        said = weightgate(
            "approve", office.run, "--role", "safety", "--key", office.at / f"{name}.pem", "--trust", office.trust
        )
        assert said.code == 0, said.err
    done = weightgate(*verify, "--model", office.at / "child", "--json")
    assert done.code == 0, done.out
    (role,) = done.json["roles"]
    assert (role["role"], role["count"], role["threshold"], role["reached"]) == ("safety", 2, 2, True)
    assert [approver["holder"] for approver in role["approvers"]] in (["cleo", "dan"], ["dan", "cleo"])
    plain = weightgate(*verify)
    assert "approval by safety: 2 of 2: " in plain.out
    assert weightgate("verify", office.run / "changeset.json", "--trust", office.trust).code == 2
    assert weightgate(*verify, "--public-key", office.at / "ci.pub").code == 2
