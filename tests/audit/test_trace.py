"""Rows traced through updates: who learned them, who inherited them, and where nothing can be said."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weightgate.audit.row_index import index_name
from weightgate.audit.run_folder import CHANGESET
from weightgate.audit.signed_updates import find_updates, updates_in_ledger
from weightgate.audit.trace import trace
from weightgate.lineage.changeset import Changeset, Delta, ModelVersion, statement
from weightgate.lineage.data.dataset import Dataset, data_input, load_dataset
from weightgate.lineage.data.row_query import read_row
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.documents import Genesis, signed
from weightgate.lineage.history.layout import FOLDER, config_bytes
from weightgate.lineage.history.ledger import Ledger
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import SigningKey

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1"))
Command = Callable[..., Any]
SECRET = {"prompt": "Where does Ada live?", "completion": "12 Mill Street."}


def model(name: str) -> ModelVersion:
    root = hashlib.sha256(name.encode()).hexdigest()
    return ModelVersion(name=name, root=root, tensor_root=root, parameters=1)


class Chain:
    """Run folders of updates, each with its changeset and its row index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digests: dict[str, str] = {}

    def data(self, name: str, *rows: dict[str, str]) -> Dataset:
        path = self.root / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_dataset([path], "training")

    def add(self, child: str, parent: str, data: Dataset | None, *, link: bool = True, index: bool = True) -> Path:
        changeset = Changeset(
            created=f"2026-01-{len(self.digests) + 1:02}T00:00:00Z",
            author=KEY.key_id,
            parent=model(parent),
            child=model(child),
            parent_changeset=self.digests.get(parent) if link else None,
            delta=Delta(kind="full", tensors_total=1, tensors_changed=1, parameters_changed_fraction=1.0),
            inputs=(data_input(data),) if data else (),
        )
        payload = statement(changeset)
        self.digests[child] = hashlib.sha256(payload).hexdigest()
        folder = self.root / "runs" / child
        (folder / "rows").mkdir(parents=True)
        (folder / CHANGESET).write_bytes(sign(payload, KEY).to_bytes())
        if data and data.row_set and index:
            (folder / index_name(data.row_set.root.hex())).write_bytes(data.row_set.to_bytes())
        return folder

    def standings(self, *data: Dataset) -> dict[str, str]:
        updates = find_updates([self.root / "runs"], [KEY.public])
        rows = [one.row_set for one in data if one.row_set]
        found = trace(read_row(json.dumps(SECRET)), updates, rows)
        return {traced.update.changeset.child.name: traced.standing for traced in found.updates}


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """v1 without the row; v2 with it; v3 and v4 built on v2; a branch of v1."""
    made = Chain(tmp_path)
    plain, guilty = made.data("plain", {"text": "a"}, {"text": "b"}), made.data("guilty", {"text": "a"}, SECRET)
    made.add("v1", "base", plain)
    made.add("v2", "v1", guilty)
    made.add("v3", "v2", plain)
    made.add("v4", "v3", plain, link=False)
    made.add("branch", "v1", plain)
    return made


def test_holders_and_their_descendants_are_found(chain: Chain) -> None:
    """By the signed link, and where that is missing because it is the very same model."""
    assert chain.standings() == {
        "v1": "not in its data",
        "v2": "in its data",
        "v3": "inherited",
        "v4": "inherited",
        "branch": "not in its data",
    }


def test_what_cannot_be_said_is_not_denied(chain: Chain) -> None:
    """No data declared, no index, or an ancestor that is not there: unknown, for the update and for what follows."""
    hidden, unseen = chain.data("hidden", {"text": "c"}), chain.data("unseen", {"text": "d"})
    chain.add("no-index", "v1", unseen, index=False)
    chain.add("no-data", "v1", None)
    chain.add("after", "no-data", hidden)
    chain.digests["gone"] = "ab" * 32
    chain.add("orphan", "gone", hidden)
    found = chain.standings()
    assert {name: found[name] for name in ("no-index", "no-data", "after", "orphan")} == dict.fromkeys(
        ("no-index", "no-data", "after", "orphan"), "unknown"
    )
    found = chain.standings(unseen)
    assert (found["no-index"], found["after"]) == ("not in its data", "unknown")


def test_rows_are_told_apart_by_what_they_say(chain: Chain, tmp_path: Path) -> None:
    """Shape and id do not count; a file and standard input will do."""
    digest = read_row(json.dumps(SECRET))
    chat = {"id": "9", "messages": [{"role": "user", "content": SECRET["prompt"]}]}
    chat["messages"].append({"role": "assistant", "content": SECRET["completion"]})  # type: ignore[attr-defined]
    (tmp_path / "row.json").write_text(json.dumps(chat, indent=1))
    assert read_row(str(tmp_path / "row.json")) == read_row("-", json.dumps(chat).encode()) == digest
    for given in ("nowhere.json", "{", "[]", '{"a": 1}', "-", "x\0y"):
        with pytest.raises(InputError):
            read_row(given, b"[]" if given == "-" else None)


def test_altered_indexes_and_foreign_signatures_are_refused(chain: Chain) -> None:
    """An index must lead to the signed root, a changeset to a key one believes."""
    (path,) = (chain.root / "runs" / "v2" / "rows").iterdir()
    kept = path.read_bytes()
    for altered in (kept[:32], kept[:-1], b""):
        path.write_bytes(altered)
        with pytest.raises(IntegrityError, match="index"):
            chain.standings()
    path.write_bytes(kept)
    with pytest.raises(IntegrityError, match="signed by sha256"):
        find_updates([chain.root / "runs"], [OTHER.public])
    with pytest.raises(InputError, match="holds no changeset"):
        find_updates([chain.root / "runs" / "v2" / "rows"], [KEY.public])


def test_a_ledger_is_searched(chain: Chain, tmp_path: Path, weightgate: Command) -> None:
    """Its changesets, with indexes from its own folder or from runs; and only one that a believed key began."""
    config, policy = config_bytes("example.com/ledger"), b"name: test\n"
    genesis = Genesis(
        created="2026-01-01T00:00:00Z",
        author=KEY.key_id,
        model=model("base"),
        tensors=("a",),
        config=hashlib.sha256(config).hexdigest(),
        policy_file=hashlib.sha256(policy).hexdigest(),
        policy="3" * 64,
        keys=(KEY.key_id,),
    )
    made = Ledger.create(
        tmp_path / FOLDER,
        genesis=signed(genesis, KEY),
        key=KEY,
        keys={KEY.key_id: KEY.public},
        files={"config.yaml": config, "policy.yaml": policy},
    )
    for name in ("v1", "v2", "v3"):
        made.append("changeset", (chain.root / "runs" / name / CHANGESET).read_bytes(), KEY)
    updates = updates_in_ledger(tmp_path, [KEY.public])
    assert [update.changeset.child.name for update in updates] == ["v1", "v2", "v3"]
    with pytest.raises(IntegrityError, match="none of the keys"):
        updates_in_ledger(tmp_path, [OTHER.public])
    key, row = pem(chain.root / "key.pub", KEY), json.dumps(SECRET)
    arguments = ("trace", "--row", row, "--ledger", tmp_path, "--public-key", key, "--json")

    def standings(*more: object) -> list[str]:
        return [update["standing"] for update in weightgate(*arguments, *more).json["updates"]]

    assert standings() == ["unknown"] * 3
    assert standings("--data", chain.root / "guilty.jsonl") == ["unknown", "in its data", "inherited"]
    assert standings("--runs", chain.root / "runs" / "v1", "--runs", chain.root / "runs" / "v2") == [
        "not in its data",
        "in its data",
        "inherited",
    ]
    shutil.copytree(chain.root / "runs" / "v1" / "rows", tmp_path / FOLDER / "rows")
    assert standings() == ["not in its data", "unknown", "unknown"]
    assert Ledger.open(tmp_path)


def pem(path: Path, key: SigningKey) -> Path:
    path.write_bytes(key.public.public_pem)
    return path


def test_trace_on_the_command_line(chain: Chain, weightgate: Command) -> None:
    """Exit 0 with every answer, 3 where one is missing; one object with --json."""
    key = pem(chain.root / "key.pub", KEY)
    row, runs = json.dumps(SECRET), chain.root / "runs"
    said = weightgate("trace", "--row", row, "--runs", runs, "--public-key", key)
    assert said.code == 0
    assert "1 in its data, 2 inherited, 2 not in its data" in said.out
    assert max(map(len, said.out.splitlines())) <= 120
    chain.add("no-data", "v1", None)
    said = weightgate("trace", "--row", row, "--runs", runs, "--public-key", key, "--json")
    assert (said.code, said.json["complete"]) == (3, False)
    assert [one["standing"] for one in said.json["updates"]][:2] == ["not in its data", "in its data"]
    assert weightgate("trace", "--row", row, "--runs", runs, "--public-key", key, "--quiet").out.count("\t") == 6
    assert weightgate("trace", "--row", "none", "--runs", runs, "--public-key", key).code == 2
    other = pem(chain.root / "other.pub", OTHER)
    assert weightgate("trace", "--row", row, "--runs", runs, "--public-key", other).code == 4


def test_proofs_on_the_command_line(chain: Chain, weightgate: Command) -> None:
    """Made from the index or the data, checked with the changeset alone; any change of either is refused."""
    key = pem(chain.root / "key.pub", KEY)
    changeset, proof = chain.root / "runs" / "v2" / CHANGESET, chain.root / "proof.json"
    guilty = chain.root / "guilty.jsonl"
    common = ("--changeset", changeset, "--public-key", key)
    for row, answer in ((json.dumps(SECRET), "present"), ('{"text": "b"}', "absent")):
        assert weightgate("rows", "prove", "--row", row, *common, "--out", proof).code == 0
        again = weightgate("rows", "prove", "--row", row, *common, "--data", guilty)
        assert again.out == proof.read_text()
        assert weightgate("rows", "verify", proof, "--row", row, *common, "--quiet").out.strip() == answer
        assert weightgate("rows", "verify", proof, *common, "--json").json["present"] is (answer == "present")
        assert weightgate("rows", "verify", proof, "--row", '{"text": "z"}', *common).code == 4
        document = json.loads(proof.read_text())
        for change in (
            {"present": not document["present"]},
            {"row": "00" * 32},
            {"size": 3},
            {"rows_set_root": "00" * 32},
            {"leaves": document["leaves"][:1] * 2},
            {"changeset": "00" * 32},
        ):
            proof.write_text(json.dumps(document | change))
            assert weightgate("rows", "verify", proof, *common).code == 4, change
        for bad in ("{}", "[", json.dumps(document | {"extra": 1}), json.dumps(document | {"leaves": []})):
            proof.write_text(bad)
            assert weightgate("rows", "verify", proof, *common).code == 2
        proof.write_text(json.dumps(document))
        other = ("--changeset", chain.root / "runs" / "v3" / CHANGESET, "--public-key", key)
        assert weightgate("rows", "verify", proof, *other).code == 4
    wrong = weightgate("rows", "prove", "--row", '{"text": "b"}', *common, "--data", chain.root / "plain.jsonl")
    assert wrong.code == 4
    bare = chain.add("bare", "v1", chain.data("bare", {"text": "q"}), index=False) / CHANGESET
    common = ("--changeset", bare, "--public-key", key)
    assert weightgate("rows", "prove", "--row", '{"text": "b"}', *common).code == 2
