"""What a ledger adds up to: attempts, verdicts, the model in use, taint, blame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.blame import blame
from weightgate.audit.ledger import Writer
from weightgate.audit.ledger_changes import admit, change_policy, init, propose, revoke, rollback
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.documents import Attempt
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.signing.keys import generate
from weightgate.policies.policy import load_policy

if TYPE_CHECKING:
    from tests.audit.ledger.conftest import Repository


def test_children_are_linked_to_the_changeset_that_made_their_parent(repository: Repository) -> None:
    """By the digest of the parent model, without being told."""
    second = repository.propose("v1", "v2")
    third = repository.propose("v2", "v3")
    changesets = repository.history.ledger.changesets
    assert changesets[second].parent_changeset is None
    assert changesets[third].parent_changeset == second
    assert [node.parent for node in repository.history.nodes.values()] == [None, second]
    repository.model("stranger")
    with pytest.raises(InputError, match="knows no model"):
        repository.propose("stranger", "v4")
    with pytest.raises(InputError, match="proposed already"):
        propose(repository.writer, Path("models/v1"), Path("models/v2"), intent="", data=())


def test_the_model_in_use_is_the_last_approved_one(repository: Repository) -> None:
    """Proposed, blocked and reviewed updates do not get there; an approval that is withdrawn does not stay."""
    second, third = repository.propose("v1", "v2"), repository.propose("v2", "v3")
    assert repository.history.head.changeset is None
    for verdict in ("block", "review"):
        repository.audit(second, verdict)
        assert repository.history.head.changeset is None
        assert repository.history.nodes[second].status == verdict
    repository.audit(second)
    assert repository.history.head.changeset == second
    repository.audit(third)
    assert repository.history.head.root == repository.history.nodes[third].changeset.child.root
    repository.audit(third, "block")
    assert repository.history.head.changeset == second


def test_attempts_are_counted_by_child_and_unfinished_ones_stay(repository: Repository) -> None:
    """An audit that blocked cannot be tried again in secret: every attempt is there, also the one that was stopped."""
    update = repository.propose("v1", "v2")
    assert repository.announce(update).number == 1
    assert repository.history.nodes[update].status == "unfinished"
    repository.audit(update, "block")
    assert repository.audit(update).number == 3
    node = repository.history.nodes[update]
    assert [audited.outcome for audited in node.attempts] == ["unfinished", "block", "approve"]
    assert (node.status, node.attempts_at_child) == ("approve", 3)


def test_a_resumed_run_continues_its_attempt(repository: Repository) -> None:
    """With the same plan, unfinished, and by the same author; otherwise it is a new attempt."""
    update = repository.propose("v1", "v2")
    first = repository.announce(update, plan="a")
    again = repository.announce(update, plan="a", resume=True)
    assert (again.id, again.number, again.envelope) == (first.id, 1, first.envelope)
    assert repository.announce(update, plan="b", resume=True).number == 2
    repository.finish(again)
    assert repository.announce(update, plan="a", resume=True).number == 3


def test_a_verdict_by_another_policy_does_not_put_a_model_into_use(repository: Repository) -> None:
    """Only the policy that was the repository's when the attempt was logged does; changing it is logged too."""
    update = repository.propose("v1", "v2")
    lax = repository.policy("approve", "lax")
    repository.audit(update, "approve", load_policy(lax))
    assert repository.history.head.changeset is None
    assert not repository.history.nodes[update].attempts[0].own_policy
    change_policy(repository.writer, str(lax), "we decided so")
    assert repository.history.head.changeset is None
    repository.audit(update)
    assert repository.history.head.changeset == update
    with pytest.raises(InputError, match="already"):
        change_policy(repository.writer, str(lax), "again")


def test_a_policy_file_that_was_edited_is_not_used(repository: Repository) -> None:
    """A change of the policy has to be in the log."""
    update = repository.propose("v1", "v2")
    with (repository.folder / "policy.yaml").open("a") as file:
        file.write("# looks harmless\n")
    with pytest.raises(IntegrityError, match="without saying so"):
        repository.announce(update)


def test_rollback_brings_an_earlier_model_back(repository: Repository) -> None:
    """By id, by root, to the genesis; only to what was approved; a new verdict brings the later one back again."""
    second, third = repository.propose("v1", "v2"), repository.propose("v2", "v3")
    repository.audit(second)
    repository.audit(third)
    rollback(repository.writer, second[:8], "complaints")
    history = repository.history
    assert history.head.changeset == second
    assert (history.nodes[third].rolled_back, history.nodes[second].rolled_back) == ("complaints", None)
    with pytest.raises(InputError, match="in use already"):
        rollback(repository.writer, second, "again")
    rollback(repository.writer, repository.history.ledger.genesis.model.root[:16], "all of it")
    assert repository.history.head.changeset is None
    repository.audit(third)
    history = repository.history
    assert history.head.changeset == third
    assert history.nodes[third].rolled_back is None
    rollback(repository.writer, history.nodes[second].changeset.child.root, "by root")
    assert repository.history.head.changeset == second
    other = repository.propose("v1", "other")
    with pytest.raises(InputError, match="never approved"):
        rollback(repository.writer, other, "no")
    with pytest.raises(InputError):
        rollback(repository.writer, "ffffffff", "no")


def test_taint_follows_the_lineage(repository: Repository) -> None:
    """A revoked update taints what was made from it, and nothing before it or beside it."""
    second, third = repository.propose("v1", "v2"), repository.propose("v2", "v3")
    fourth, beside = repository.propose("v3", "v4"), repository.propose("v2", "beside")
    repository.audit(fourth)
    revoke(repository.writer, third, "poisoned", data=False)
    nodes = repository.history.nodes
    assert nodes[third].revoked == "poisoned"
    assert nodes[third].tainted == "revoked"
    assert nodes[fourth].tainted == f"made from {third[:8]}"
    assert (nodes[second].tainted, nodes[beside].tainted) == (None, None)
    assert repository.history.head.tainted == nodes[fourth].tainted
    later = repository.propose("v4", "v5")
    assert repository.history.nodes[later].tainted == f"made from {fourth[:8]}"
    with pytest.raises(InputError, match="never approved"):
        rollback(repository.writer, third, "no")
    with pytest.raises(InputError, match="no update"):
        revoke(repository.writer, repository.history.ledger.entries[0].entry.id, "no", data=False)


def test_taint_follows_the_data(repository: Repository) -> None:
    """With --data, whatever was trained on the same rows is tainted too, and what was made from that."""
    rows, others = repository.at / "rows.jsonl", repository.at / "others.jsonl"
    rows.write_text('{"text": "one"}\n{"text": "two"}\n')
    others.write_text('{"text": "three"}\n')
    second = repository.propose("v1", "v2", data=rows)
    rows.rename(repository.at / "renamed.jsonl")
    (repository.at / "renamed.jsonl").write_text('{"text":"one"}\n{"text":"two"}\n')  # other bytes, the same rows
    twin = repository.propose("v1", "twin", data=repository.at / "renamed.jsonl")
    child, clean = repository.propose("twin", "child"), repository.propose("v1", "clean", data=others)
    with pytest.raises(InputError, match="names no training data"):
        revoke(repository.writer, child, "no", data=True)
    revoke(repository.writer, second, "the rows were poisoned", data=True)
    nodes = repository.history.nodes
    assert nodes[twin].tainted == f"trained on data of {second[:8]}"
    assert nodes[child].tainted == f"made from {twin[:8]}"
    assert nodes[clean].tainted is None
    assert nodes[twin].revoked is None


def test_a_tainted_model_cannot_come_back(repository: Repository) -> None:
    """Rolling back to it is refused; rolling back to one that is not tainted clears the head."""
    second, third = repository.propose("v1", "v2"), repository.propose("v2", "v3")
    repository.audit(second)
    repository.audit(third)
    revoke(repository.writer, second, "bad", data=False)
    assert repository.history.head.tainted
    with pytest.raises(InputError, match="is tainted"):
        rollback(repository.writer, second, "no")
    rollback(repository.writer, "genesis", "clean")
    assert repository.history.head.tainted is None


def test_blame_finds_the_last_change_of_each_tensor(repository: Repository) -> None:
    """Walking from the model in use or any other; what no update changed is the genesis's."""
    second = repository.propose("v1", "v2", "norm", "layer.0.q")
    third = repository.propose("v2", "v3", "norm", "layer.1.q")
    beside = repository.propose("v2", "beside", "embed")
    repository.audit(third)
    found = {blamed.tensor: blamed.changeset for blamed in blame(repository.history)}
    assert found == {
        "embed": None,
        "layer.0.k": None,
        "layer.0.q": second,
        "layer.1.k": None,
        "layer.1.q": third,
        "norm": third,
    }
    assert {b.tensor for b in blame(repository.history, ["layer.0.*"])} == {"layer.0.k", "layer.0.q"}
    assert {b.tensor: b.changeset for b in blame(repository.history, ["norm", "embed"], beside)} == {
        "norm": second,
        "embed": beside,
    }
    with pytest.raises(InputError, match="no tensor matches"):
        blame(repository.history, ["nothing.*"])


def test_who_may_write(repository: Repository, tmp_path: Path) -> None:
    """A key that was not admitted is refused before anything is written; admitted, it proposes and audits."""
    stranger = generate(tmp_path / "stranger.pem", "ecdsa-p256")
    with pytest.raises(InputError, match="may not write"):
        Writer.open(repository.folder, stranger)
    admit(repository.writer, tmp_path / "stranger.pub", "joins")
    with pytest.raises(InputError, match="already"):
        admit(repository.writer, tmp_path / "stranger.pub", "joins")
    repository.key = stranger
    update = repository.propose("v1", "v2")
    repository.audit(update)
    assert repository.history.head.changeset == update
    assert repository.history.ledger.of(Attempt).popitem()[1].author == stranger.key_id


def test_init_refuses(repository: Repository, tmp_path: Path) -> None:
    """Outside a repository, and where there is a ledger; a folder with only a trust root is none."""
    options = {"policy": "default", "key": repository.at / "key.pem", "others": ()}
    with pytest.raises(InputError, match="is there already"):
        init(repository.at, repository.at / "models" / "v1", **options)
    with pytest.raises(InputError, match="not in a git repository"):
        init(Path("/"), repository.at / "models" / "v1", **options)
    fresh = tmp_path / "fresh"
    (fresh / ".git").mkdir(parents=True)
    (fresh / ".weightgate" / "trust").mkdir(parents=True)
    (fresh / ".weightgate" / "trust" / "root.json").write_text("{}")
    init(fresh, repository.at / "models" / "v1", **options)
    assert (fresh / ".weightgate" / "trust" / "root.json").read_text() == "{}"
    assert len(Ledger.open(fresh).entries) == 1
