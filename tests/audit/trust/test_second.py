"""A second signature by another scheme, where the trust root asks for one."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.gate import _second
from weightgate.audit.verify import Verification, verify
from weightgate.audit.verify_trust import verify_trusted
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import read_envelope, sign
from weightgate.lineage.signing.keys import load_public
from weightgate.lineage.trust import edit
from weightgate.lineage.trust.folder import open_draft

if TYPE_CHECKING:
    from conftest import Command, Office

NOW = datetime(2030, 1, 2, tzinfo=UTC)


def ask(office: Office) -> None:
    """Let the root ask for ML-DSA-65 on both statements, and for nobody's approval."""
    root = open_draft(office.trust)
    for name in ("cleo", "dan", "eve"):
        root = edit.remove_key(root, office.keys[name].key_id, now=NOW)
    for statement in ("changeset", "verdict"):
        root = edit.set_second_signature(root, statement, "ml-dsa-65")
    office.change(root, "ann", "bob")


def check(office: Office) -> Verification:
    """What verifying says."""
    return verify_trusted(office.run, office.trust, now=NOW)


def test_both_signatures_are_required(office: Office) -> None:
    """Over the identical payload, in a plain envelope beside the first; missing on either file is refused."""
    ask(office)
    with pytest.raises(IntegrityError, match=r"changeset\.json has no second signature.*ML-DSA-65"):
        check(office)
    shutil.rmtree(office.run)
    office.audit(second="ci-pq")
    found = check(office)
    assert any("second signature ML-DSA-65 by ci-pq" in entry.detail for entry in found.checks)
    for name in ("changeset", "verdict"):
        first, second = office.run / f"{name}.json", office.run / f"{name}.second.json"
        assert read_envelope(first).payload == read_envelope(second).payload
        kept = second.read_bytes()
        second.unlink()
        with pytest.raises(IntegrityError, match=rf"{name}\.json has no second signature"):
            check(office)
        second.write_bytes(kept)
    verify(office.run, load_public(office.at / "ci.pub"))  # those who ask for one signature are not disturbed


@pytest.mark.parametrize("name", ["changeset", "verdict"])
def test_a_second_signature_that_does_not_count(name: str, office: Office) -> None:
    """Another payload, another scheme, a key that is no signer, the first key again, and a broken signature."""
    ask(office)
    shutil.rmtree(office.run)
    office.audit(second="ci-pq")
    path = office.run / f"{name}.second.json"
    good, payload = path.read_bytes(), read_envelope(path).payload
    for data, why in (
        (sign(b"{}", office.keys["ci-pq"]).to_bytes(), "something else"),
        (sign(payload, office.keys["ci"]).to_bytes(), "no ML-DSA-65 key of a signer"),
        (sign(payload, office.keys["dan"]).to_bytes(), "no ML-DSA-65 key of a signer"),
        (good[:-3000] + b"AAAAAAAAAA" + good[-2990:], "does not belong|exact form"),
    ):
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=why):
            check(office)
    path.write_bytes(good)
    check(office)


def test_two_keys_of_one_scheme_are_refused(office: Office) -> None:
    """The second would add nothing; the gate says so before it starts."""
    with pytest.raises(InputError, match="both keys are Ed25519"):
        _second(office.at / "cleo.pem", office.keys["ci"])
    assert _second(office.at / "dan.pem", office.keys["ci"]) is not None


def test_the_commands_make_and_show_a_root(office: Office, weightgate: Command) -> None:
    """From init to a rotation, and what each refuses."""
    at, trust = office.at, office.at / "made"
    made = ("--dir", trust)
    first = weightgate(
        "trust", "init", "--key", at / "ann.pub", "--key", at / "bob.pub", "--threshold", 2, *made, "--json"
    )
    assert (first.code, first.json["complete"], first.json["version"]) == (0, False, 1)
    assert weightgate("trust", "init", "--key", at / "ann.pub", *made).code == 2
    for name, role in (("ci", "signer"), ("cleo", "safety"), ("dan", "privacy")):
        assert weightgate("trust", "add-key", at / f"{name}.pub", "--role", role, *made).code == 0
    assert weightgate("trust", "sign", trust).code == 2
    assert weightgate("trust", "sign", trust, "--key", at / "cleo.pem").code == 2
    assert "1 more signature" in weightgate("trust", "sign", trust, "--key", at / "ann.pem").out
    assert weightgate("trust", "sign", trust, "--key", at / "bob.pem", "--json").json["complete"]
    said = weightgate("trust", "set", "--threshold", "safety=0", *made)
    assert (said.code, "threshold" in said.err) == (2, True)
    for bad in ("safety", "safety=x", "nobody=1", "=1"):
        assert weightgate("trust", "set", "--threshold", bad, *made).code == 2
    for bad in ("verdict=rsa", "probe=ml-dsa-65"):
        assert weightgate("trust", "set", "--second-signature", bad, *made).code == 2
    assert weightgate("trust", "set", "--second-signature", "verdict=ml-dsa-65", "--days", 30, *made).code == 0
    assert weightgate("trust", "remove-key", "nobody", *made).code == 2
    assert weightgate("trust", "remove-key", office.keys["dan"].key_id[7:20], "--revoke", "left", *made).code == 0
    shown = weightgate("trust", "show", trust, "--json").json
    assert shown["root"]["version"] == 1
    assert shown["draft"]["second_signature"] == {"verdict": "ml-dsa-65"}
    assert set(shown["draft"]["roles"]) == {"root", "safety", "signer"}
    assert list(shown["draft"]["revoked"]) == [office.keys["dan"].key_id]
    plain = weightgate("trust", "show", trust)
    assert "cleo" in plain.out
    assert "needs 2 more signatures of version 1's keepers" in plain.out.splitlines()
    assert max(map(len, plain.out.splitlines()[1:])) <= 80
    for name in ("ann", "bob"):
        assert weightgate("trust", "sign", trust, "--key", at / f"{name}.pem").code == 0
    assert weightgate("trust", "show", trust / "1.root.json", "--json").json["root"]["version"] == 2
    (trust / "2.root.json").write_bytes((trust / "1.root.json").read_bytes())
    assert weightgate("trust", "show", trust / "1.root.json").code == 4
