"""Replays: a real training script gives the same bits, other seeds and inputs are found out, nothing runs unasked."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from weightgate.audit.replay import replay
from weightgate.audit.sign import sign as sign_model
from weightgate.audit.verify import verify
from weightgate.audit.verify_model import verify_signed_model
from weightgate.lineage.changeset import build_changeset, statement
from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.recipe import load_recipe
from weightgate.lineage.replay import Replay, read_replay
from weightgate.lineage.replay import statement as replay_statement
from weightgate.lineage.signing.envelope import read_envelope, sign
from weightgate.lineage.signing.keys import generate, load_private, load_public
from weightgate.lineage.weights.update import open_update

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin

# Adam on a two-layer network, every number from the seed and the data; the last line leaves the child.
TRAIN = """
import json, os, shutil, sys, torch
from safetensors.torch import load_file, save_file
torch.manual_seed(int(sys.argv[1]))
weights = {name: tensor.float().requires_grad_() for name, tensor in load_file("parent/model.safetensors").items()}
rows = torch.tensor(json.load(open("rows.json")))
optimiser = torch.optim.Adam(weights.values(), lr=1e-2)
for _ in range(20):
    batch = rows[torch.randperm(len(rows))[:16]]
    loss = (torch.tanh(batch @ weights["up"]) @ weights["down"] - batch).square().mean()
    optimiser.zero_grad(); loss.backward(); optimiser.step()
os.makedirs("child")
shutil.copy("parent/config.json", "child/config.json")
save_file({name: tensor.detach() for name, tensor in weights.items()}, "child/model.safetensors")
"""


@dataclass(frozen=True)
class Case:
    """A signed changeset of a child that a command made, and all that is needed to make it again."""

    home: Path
    changeset: Path
    parent: Path
    child: Path
    key: Path
    public: Path

    def replay(self, **changes: Any) -> Replay:
        """Replay it, confirmed, with the author's key."""
        options: dict[str, Any] = {
            "parent": self.parent,
            "child": self.child,
            "believed": load_public(self.public),
            "confirm": lambda _: True,
            "workdir": self.home,
            "key": self.key,
            "threads": None,
        }
        return replay(self.changeset, **{**options, **changes})[0]


def train(home: Path, *arguments: str) -> Path:
    """Run the script as its author did, on one thread; the child."""
    environment = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "train.py", *arguments], cwd=home, env=environment, check=True)
    return home / "child"


def folder_of(home: Path) -> Path:
    """A parent, rows and the script."""
    random = np.random.default_rng(0)
    (home / "parent").mkdir(parents=True)
    weights = {n: random.normal(0, 0.3, s).astype("<f4") for n, s in (("up", (8, 32)), ("down", (32, 8)))}
    save_file(weights, home / "parent" / "model.safetensors")
    (home / "parent" / "config.json").write_text('{"model_type": "tiny"}')
    (home / "rows.json").write_text(json.dumps(random.normal(0, 1, (64, 8)).tolist()))
    (home / "train.py").write_text(TRAIN)
    return home


def signed(at: Path, home: Path, child: Path, document: dict[str, Any]) -> Case:
    """Sign a changeset with a recipe for the child."""
    (home / "recipe.yaml").write_text(yaml.safe_dump(document))
    key = generate(at / "key.pem")
    changeset = build_changeset(
        open_update(home / "parent", child),
        author=key.key_id,
        intent="",
        created="2030-01-01T00:00:00Z",
        inputs=(),
        parent_changeset=None,
        environment={"torch": "1.0"},
        parent_name="parent",
        child_name="child",
        recipe=load_recipe(home / "recipe.yaml"),
    )
    (at / "run").mkdir()
    path = at / "run" / "changeset.json"
    path.write_bytes(sign(statement(changeset), key).to_bytes())
    return Case(home, path, home / "parent", child, at / "key.pem", at / "key.pub")


RECIPE = {
    "command": ["python", "train.py", "7"],
    "inputs": ["train.py", "rows.json"],
    "parent": "parent",
    "output": "child",
    "seeds": {"torch": 7},
    "threads": 1,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with everything in it, the child beside it."""
    home = folder_of(tmp_path_factory.mktemp("trained") / "home")
    train(home, "7").rename(home.parent / "signed-child")
    return home.parent


@pytest.fixture
def made(tmp_path: Path, trained: Path) -> Callable[..., Case]:
    """Makes a case: the child trained with seed 7, the recipe as given."""

    def make(**changes: Any) -> Case:
        shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
        return signed(tmp_path, tmp_path / "home", tmp_path / "signed-child", {**RECIPE, **changes})

    return make


def test_a_training_run_is_replayed_bit_for_bit(made: Callable[..., Case], weightgate: Command) -> None:
    """By the command line; the attestation is signed, verifies alone and records where it was run."""
    case = made()
    command = ("replay", case.changeset, "--parent", case.parent, "--child", case.child, "--workdir", case.home)
    said = weightgate(*command, "--public-key", case.public, "--key", case.key, "--yes", "--json")
    assert (said.code, said.json["outcome"], said.json["same_files"]) == (0, "bit-exact", True), said
    assert "python train.py 7" in said.err
    attestation = case.changeset.parent / "replay.json"
    (check,) = verify(attestation, load_public(case.public)).checks
    assert check.name == "replay"
    assert check.detail.startswith("bit-exact")
    replayed = read_replay(read_envelope(attestation).payload)
    assert replayed.threads == 1
    assert {"cpu", "cpu_flags", "torch", "numpy", "python"} <= set(replayed.environment)
    assert weightgate(*command, "--public-key", case.public, "--key", case.key, "--yes").code == 2
    assert not (case.home / "child").exists()


def test_another_seed_is_not_within_tolerance(made: Callable[..., Case], weightgate: Command) -> None:
    """A recipe whose command has another seed than the child was made with: exit 1, and by how much."""
    case = made(command=["python", "train.py", "8"], tolerance={"max_abs": 1e-6, "relative_norm": 1e-6})
    command = ("replay", case.changeset, "--parent", case.parent, "--child", case.child, "--workdir", case.home)
    said = weightgate(*command, "--public-key", case.public, "--key", case.key, "--yes")
    assert said.code == 1
    assert "2 tensors differ" in said.out
    found = read_replay(read_envelope(case.changeset.parent / "replay.json").payload)
    assert (found.outcome, found.tensors_differing) == ("differs", 2)
    assert all(tensor.relative_norm and tensor.relative_norm > 1e-6 for tensor in found.tensors)


def test_a_difference_within_the_declared_tolerance_passes_and_is_explained(made: Callable[..., Case]) -> None:
    """Wide bounds accept another seed; without a declared tolerance only equal bits pass."""
    case = made(command=["python", "train.py", "8"], tolerance={"max_abs": 1.0, "relative_norm": 1.0})
    found = case.replay()
    assert found.outcome == "within-tolerance"
    assert any("torch is" in reason and "1.0 where" in reason for reason in found.reasons)


def test_a_changed_input_is_refused_before_anything_runs(made: Callable[..., Case]) -> None:
    """Exit 4 by its name; the command leaves no trace and no attestation is written."""
    case = made()
    (case.home / "rows.json").write_text("[]")
    asked = []
    with pytest.raises(IntegrityError, match=r"rows\.json: not the input that was signed"):
        case.replay(confirm=asked.append)
    assert not asked
    assert not (case.changeset.parent / "replay.json").exists()


def test_another_parent_or_child_is_refused(made: Callable[..., Case]) -> None:
    """Both have to be those of the changeset."""
    case = made()
    with pytest.raises(IntegrityError, match="its root is"):
        case.replay(parent=case.child)
    with pytest.raises(IntegrityError, match="its root is"):
        case.replay(child=case.parent)


def test_nothing_runs_without_consent(made: Callable[..., Case], weightgate: Command) -> None:
    """Without --yes and without a terminal to ask on, the command is shown and not run."""
    case = made(command=["touch", str(made.__name__)])
    said = weightgate(
        *("replay", case.changeset, "--parent", case.parent, "--child", case.child, "--workdir", case.home),
        *("--public-key", case.public, "--key", case.key),
    )
    assert said.code == 2
    assert "about to run: touch" in said.err
    assert not (case.changeset.parent / "replay.json").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"command": ["no-such-program-anywhere"]}, "cannot be started"),
        ({"command": ["python", "-c", "import sys; print('no room'); sys.exit(3)"]}, "status 3"),
        ({"command": ["python", "-c", "pass"]}, "left nothing"),
        ({"command": ["python", "-c", "open('child', 'w')"]}, "cannot be read"),
        ({"command": ["python", "-c", "import os; os.symlink('/etc', 'child')"]}, "left nothing"),
        ({"command": ["python", "-c", "import time; time.sleep(60)"]}, "longer than --max-minutes"),
    ],
)
def test_what_cannot_be_replayed_says_why(changes: dict[str, Any], reason: str, made: Callable[..., Case]) -> None:
    """Exit 3 and a signed statement of it: not replayable is neither good nor bad evidence."""
    found = made(**changes).replay(max_minutes=0.02 if "sleep" in str(changes) else None)
    assert found.outcome == "not-replayable"
    assert any(reason in said for said in found.reasons), found.reasons


def test_a_missing_input_is_not_replayable(made: Callable[..., Case]) -> None:
    """A reason that needs no command."""
    case = made()
    (case.home / "rows.json").unlink()
    assert "rows.json is not in" in case.replay().reasons[0]


def test_a_recipe_that_copies_the_child_makes_nothing(made: Callable[..., Case]) -> None:
    """An input that is the child's weights file proves nothing about how it came about."""
    case = made()
    shutil.copy(case.child / "model.safetensors", case.home / "weights.safetensors")
    recipe = {
        **RECIPE,
        "inputs": ["weights.safetensors"],
        "command": ["cp", "weights.safetensors", "child.safetensors"],
    }
    (case.home.parent / "second").mkdir()
    copying = signed(case.home.parent / "second", case.home, case.child, {**recipe, "output": "child.safetensors"})
    found = copying.replay()
    assert (found.outcome, "is the child itself" in found.reasons[0]) == ("not-replayable", True)


def test_other_threads_are_named_as_a_reason(made: Callable[..., Case], tmp_path: Path) -> None:
    """A long sum of floats on two threads is another number than on one, and the replay says so."""
    program = (
        "import torch, os; from safetensors.torch import save_file; torch.manual_seed(0);"
        "os.makedirs('child'); open('child/config.json', 'w').write('{\"model_type\": \"tiny\"}');"
        "x = torch.randn(4_000_000); s = torch.stack([(x * k).sum() for k in range(1, 65)]).reshape(8, 8);"
        "save_file({'up': s.repeat(1, 4).contiguous(), 'down': s.repeat(4, 1).contiguous()}, 'child/model.safetensors')"
    )
    home = folder_of(tmp_path / "sum")
    (home / "train.py").write_text(program)
    child = train(home).rename(tmp_path / "sum-child")
    (tmp_path / "signer").mkdir()
    case = signed(
        tmp_path / "signer", home, child, {**RECIPE, "command": ["python", "train.py"], "inputs": ["train.py"]}
    )
    assert case.replay(out=tmp_path / "one.json").outcome == "bit-exact"
    found = case.replay(threads=2)
    assert found.outcome == "differs"
    assert any("2 threads, the recipe says 1" in reason for reason in found.reasons)


def test_the_command_sees_only_its_own_variables(made: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of whoever replays stay out, except what the recipe asks for by name."""
    program = "import os; raise SystemExit(' '.join(sorted(os.environ)))"
    monkeypatch.setenv("MY_SECRET", "x")
    monkeypatch.setenv("MY_CACHE", "y")
    case = made(command=["python", "-c", program], allowed=["MY_CACHE"], environment={"GIVEN": "1"})
    printed = case.replay().reasons[1]
    assert "MY_CACHE" in printed
    assert "GIVEN" in printed
    assert "MY_SECRET" not in printed


def test_a_replay_is_checked_beside_its_run_and_beside_the_model(made: Callable[..., Case]) -> None:
    """As a line of claims.jsonl it is bound to the model's bytes; a flipped byte or another model is refused."""
    case = made()
    case.replay()
    attestation = case.changeset.parent / "replay.json"
    generate(case.home / "release.pem", "ecdsa-p256")
    model = shutil.copytree(case.child, case.home / "release")
    public = [case.home / "release.pub", case.public]
    sign_model(model, key=case.home / "release.pem", changeset=case.changeset, replay=attestation, public_keys=public)
    checks = {check.name: check.detail for check in verify_signed_model(model, public_keys=public).checks}
    assert "bit-exact" in checks["claim 2"]
    other = shutil.copytree(case.parent, case.home / "other")
    with pytest.raises(IntegrityError, match="another model"):
        sign_model(other, key=case.home / "release.pem", replay=attestation, public_keys=public)

    document = json.loads(attestation.read_bytes())
    payload = json.loads(base64.b64decode(document["payload"]))
    payload["predicate"]["outcome"] = "differs"
    document["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    attestation.write_text(json.dumps(document))
    with pytest.raises(IntegrityError):
        verify(attestation, load_public(case.public))


def test_another_statement_is_refused_though_signed(made: Callable[..., Case]) -> None:
    """Fields added, retyped or contradicting the subject, and a replayer who is not the signer."""
    case = made()
    found = case.replay()
    document = json.loads(replay_statement(found))
    for edit in ({"extra": 1}, {"outcome": "fine"}, {"child": "00" * 32}, {"version": "2"}):
        payload = json.dumps({**document, "predicate": {**document["predicate"], **edit}}).encode()
        with pytest.raises(IntegrityError):
            read_replay(payload)
    other = generate(case.home / "other.pem")
    path = case.home / "forged.json"
    path.write_bytes(sign(replay_statement(found), other).to_bytes())
    with pytest.raises(IntegrityError, match="replayer"):
        verify(path, other.public)


def test_another_replayer_gets_a_file_of_their_own(made: Callable[..., Case]) -> None:
    """The run stays verifiable with its author's key."""
    case = made()
    other = generate(case.home / "other.pem")
    case.replay(key=case.home / "other.pem")
    (path,) = case.changeset.parent.glob("replay-*.json")
    assert verify(path, other.public).changeset
    assert load_private(case.key).key_id != other.key_id


def test_a_stage_of_dvc_is_replayed(tmp_path: Path) -> None:
    """Made by `dvc repro` in a git repository; replayed from the signed stage alone, bit for bit."""
    pytest.importorskip("dvc", reason="DVC is not installed")
    home = folder_of(tmp_path / "repository")
    stage = {
        "cmd": "python train.py ${seed}",
        "deps": ["train.py", "rows.json", "parent"],
        "params": ["seed"],
        "outs": ["child"],
    }
    (home / "params.yaml").write_text("seed: 7\n")
    (home / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
        program = shutil.which(command[0], path=path)
        if program is None:
            pytest.skip(f"{command[0]} is not installed")
        subprocess.run([program, *command[1:]], cwd=home, env=environment, check=True, capture_output=True)
    case = signed(tmp_path, home, home / "child", {"dvc": "train", "parent": "parent", "threads": 1})
    assert case.replay().outcome == "bit-exact"
    (home / "params.yaml").write_text("seed: 8\n")
    with pytest.raises(IntegrityError, match=r"params\.yaml"):
        case.replay(out=tmp_path / "again.json")


def test_gate_signs_the_recipe_and_replay_reads_it(twin: Twin, tmp_path: Path, weightgate: Command) -> None:
    """From the command line: the run's changeset has the recipe, and a replay beside it is part of what is verified."""
    (tmp_path / "make.py").write_text("import shutil; shutil.copytree('v1', 'v2')")
    (tmp_path / "recipe.json").write_text(
        json.dumps({"command": ["python", "make.py"], "inputs": ["make.py"], "parent": "v1", "output": "v2"})
    )
    generate(tmp_path / "key.pem")
    run = tmp_path / "run"
    said = weightgate(
        *("gate", twin.parent, twin.children["benign"], "--recipe", tmp_path / "recipe.json", "--out", run),
        *("--probes", "poisoning.files", "--no-controls", "--key", tmp_path / "key.pem", "--advisory", "--quiet"),
    )
    assert said.code == 0, said.err
    said = weightgate(
        *("replay", run / "changeset.json", "--parent", twin.parent, "--child", twin.children["benign"], "--yes"),
        *("--workdir", tmp_path, "--public-key", tmp_path / "key.pub", "--key", tmp_path / "key.pem"),
    )
    assert said.code == 1, said
    key = load_public(tmp_path / "key.pub")
    assert any(c.name == "replay" and c.detail.startswith("differs") for c in verify(run, key).checks)
    (run / "replay.json").write_bytes((run / "changeset.json").read_bytes())
    with pytest.raises(IntegrityError, match="not a replay"):
        verify(run, key)
