"""Runs a recipe again and compares what comes out with the child that was signed, in the order in which it happens."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightgate.audit.environment import describe_environment, describe_processor
from weightgate.audit.progress import Progress, Silent
from weightgate.audit.rerun import NotReplayable, Scratch, copies
from weightgate.audit.run_folder import REPLAY
from weightgate.lineage.canonical import digest
from weightgate.lineage.changeset import Changeset, read_changeset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.recipe import Recipe
from weightgate.lineage.replay import Outcome, Replay, TensorDistance, compare, statement
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import VerifyingKey, default_key, load_private
from weightgate.lineage.signing.oms import write_atomically
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import Fingerprint, fingerprint

_SETUP = ("python", "platform", "torch", "transformers", "peft", "safetensors", "numpy")


@dataclass(frozen=True, slots=True)
class Result:
    """What running the recipe gave; nothing but the outcome where it could not be run."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    tensor_root: str | None = None
    same_files: bool | None = None
    tensors: tuple[TensorDistance, ...] = ()
    differing: int | None = None
    exit_status: int | None = None


def replay(
    changeset: Path,
    *,
    parent: Path,
    child: Path,
    believed: VerifyingKey,
    confirm: Callable[[Recipe], bool],
    workdir: Path = Path(),
    key: Path | None = None,
    out: Path | None = None,
    threads: int | None = None,
    max_minutes: float | None = None,
    progress: Progress | None = None,
) -> tuple[Replay, Path]:
    """Run the recipe of a signed changeset in a scratch folder, compare, and sign what was found.

    The command is somebody's code and runs with the rights of whoever replays it.

    Args:
        changeset: Signed changeset with a recipe.
        parent: The parent, which has to be the changeset's.
        child: The child, which has to be the changeset's.
        believed: Who has to have signed the changeset.
        confirm: Asked with the recipe before anything is run.
        workdir: Folder that holds the recipe's inputs.
        key: Signing key of the attestation; the user's own by default.
        out: Where the attestation goes; by default beside the changeset, as ``replay.json`` where its author replays.
        threads: Threads, where they are to be others than the recipe says.
        max_minutes: Time the command may take.
        progress: Receives the steps.

    Raises:
        InputError: something cannot be read or written, or nobody confirmed.
        IntegrityError: signature, parent, child or an input is not what was signed; nothing was run.
    """
    say = progress or Silent()
    said, payload = read_changeset(_read(changeset), believed)
    signer = load_private(key) if key else default_key()
    target = out or changeset.parent / (
        REPLAY if signer.key_id == said.author else f"replay-{signer.key_id[7:19]}.json"
    )
    if target.exists():
        raise InputError(f"{target}: exists", remedy="choose another --out, or delete it")
    say.step("Hashing parent and child")
    _check_root(parent, said.parent.root)
    opened = Checkpoint.open(child)
    mine = _check_root(child, said.child.root, base=said.parent.root if opened.kind == "adapter" else None)
    used = threads if threads is not None else said.recipe.threads if said.recipe else None
    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else None
    task = _Task(said, parent, opened, mine, workdir, used, deadline)
    with tempfile.TemporaryDirectory(prefix="weightgate-replay-") as folder:
        try:
            result = _attempt(task, Scratch(Path(folder)), confirm, say)
        except NotReplayable as why:
            result = Result("not-replayable", (str(why),))
    found = _describe(task, payload, signer.key_id, result)
    write_atomically(target, sign(statement(found), signer).to_bytes())
    return found, target


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be run, and what has to come out."""

    said: Changeset
    parent: Path
    child: Checkpoint
    mine: Fingerprint
    workdir: Path
    threads: int | None
    deadline: float | None


def _attempt(task: _Task, scratch: Scratch, confirm: Callable[[Recipe], bool], say: Progress) -> Result:
    recipe = task.said.recipe
    if recipe is None:
        raise NotReplayable("the changeset has no recipe")
    if copied := copies(recipe, task.child):
        raise NotReplayable(f"the input {copied} is the child itself: the recipe makes nothing")
    say.step("Copying and hashing the inputs")
    scratch.fill(recipe, task.workdir, task.parent)
    if recipe.parent is not None:
        _check_root(scratch.tree / recipe.parent, task.said.parent.root)
    if not confirm(recipe):
        raise InputError("not confirmed: nothing was run", remedy="read the command, then give --yes")
    say.step("Running the recipe")
    status = scratch.run(recipe, threads=task.threads, deadline=task.deadline)
    if status != 0:
        printed = scratch.tail()[-500:]
        why = (f"the command ended with status {status}", *([f"it last printed: {printed}"] if printed else []))
        return Result("not-replayable", why, exit_status=status)
    return _compared(task, recipe, scratch.result(recipe))


def _compared(task: _Task, recipe: Recipe, result: Checkpoint) -> Result:
    found = fingerprint(result, base_root=task.mine.base if result.kind == "adapter" else None, finite=False)
    outcome, tensors, differing = compare(task.child, task.mine, result, found, recipe.tolerance)
    return Result(
        outcome,
        tensor_root=found.tensor_root,
        same_files=None if differing else found.root == task.mine.root,
        tensors=tensors,
        differing=differing,
        exit_status=0,
    )


def _check_root(path: Path, root: str, base: str | None = None) -> Fingerprint:
    found = fingerprint(Checkpoint.open(path), base_root=base, finite=False)
    if found.root != root:
        raise IntegrityError(
            f"{path}: its root is {found.root[:16]}…, the changeset names {root[:16]}…",
            remedy="give the parent and the child of this changeset",
        )
    return found


def _explain(said: Changeset, result: Result, threads: int | None, here: Mapping[str, str]) -> list[str]:
    """What may be behind a difference, where there is one; what the recipe does not cover, always."""
    recipe = said.recipe
    if recipe is None:
        return []
    hashes = {entry.sha256 for entry in recipe.inputs}
    reasons = [
        f"the {data.role} data {data.name} is not among the recipe's inputs"
        for data in said.inputs
        if data.role == "training" and data.sha256 not in hashes
    ]
    if result.outcome not in ("differs", "within-tolerance"):
        return reasons
    if recipe.threads is None:
        reasons.append("the recipe states no threads: sums of floats depend on their number")
    elif threads != recipe.threads:
        reasons.append(
            f"run with {threads} threads, the recipe says {recipe.threads}: floats are summed in another order"
        )
    if not recipe.seeds:
        reasons.append("the recipe states no seeds")
    there = said.environment
    reasons += [
        f"{name} is {here.get(name, 'missing')} here, {there[name]} where the changeset was signed"
        for name in _SETUP
        if name in there and there[name] != here.get(name)
    ]
    return reasons


def _describe(task: _Task, payload: str, replayer: str, result: Result) -> Replay:
    said, environment = task.said, describe_environment() | describe_processor()
    return Replay(
        outcome=result.outcome,
        replayed=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        replayer=replayer,
        name=said.child.name,
        parent=said.parent.root,
        child=said.child.root,
        tensor_root=said.child.tensor_root,
        changeset=payload,
        recipe=digest(said.recipe) if said.recipe else None,
        replayed_tensor_root=result.tensor_root,
        same_files=result.same_files,
        tensors_differing=result.differing,
        tensors=result.tensors,
        tolerance=said.recipe.tolerance if said.recipe else None,
        threads=task.threads,
        exit_status=result.exit_status,
        reasons=(*result.reasons, *_explain(said, result, task.threads, environment)),
        environment=environment,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="give changeset.json of a run") from error
