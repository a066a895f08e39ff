"""What people write to a ledger: its beginning, updates, and decisions with their reasons."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from weightgate.audit.claims_file import load_claims
from weightgate.audit.environment import describe_environment
from weightgate.audit.history import data_digests, read_history
from weightgate.audit.inputs import load_inputs
from weightgate.audit.ledger import Writer, now, proposed, repository
from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import Changeset, build_changeset
from weightgate.lineage.errors import InputError
from weightgate.lineage.history.documents import Admit, Genesis, PolicyChange, Revoke, Rollback, signed
from weightgate.lineage.history.layout import CONFIG, FOLDER, POLICY, config_bytes, key_file
from weightgate.lineage.history.ledger import Ledger, Logged
from weightgate.lineage.recipe import load_recipe
from weightgate.lineage.signing.keys import default_key, load_private, load_public
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.update import model_version, open_update
from weightgate.policies.policy import PACKS, packs, resolve


def init(
    start: Path, model: Path, *, policy: str, key: Path | None, others: Sequence[Path], name: str | None = None
) -> Ledger:
    """Make the ledger of the git repository around ``start``, beginning with ``model``.

    Args:
        start: a folder of the repository.
        model: folder of the model that the history begins with.
        policy: name of a pack or file; it becomes the repository's policy.
        key: of the signer; by default the user's own.
        others: public keys of whoever else may sign.
        name: label of the model.

    Raises:
        InputError: outside a git repository, where there is a ledger, or bad input.
    """
    top = repository(start)
    if (top / FOLDER / CONFIG).exists():
        raise InputError(f"{top / FOLDER} is there already", remedy="weightgate log shows what it holds")
    signer = load_private(key) if key else default_key()
    rules, text = resolve(policy), _policy_bytes(policy)
    found = fingerprint(Checkpoint.open(model))
    keys = {k.key_id: k for k in (signer.public, *map(load_public, others))}
    config = config_bytes(f"weightgate.dev/ledger/{secrets.token_hex(8)}")
    genesis = Genesis(
        created=now(),
        author=signer.key_id,
        model=model_version(name or model.resolve().name, found),
        tensors=tuple(tensor.name for tensor in found.tensors),
        config=sha256_hex(config),
        policy_file=sha256_hex(text),
        policy=rules.digest,
        keys=tuple(keys),
    )
    files = {CONFIG: config, POLICY: text}
    return Ledger.create(top / FOLDER, genesis=signed(genesis, signer), key=signer, keys=keys, files=files)


def propose(
    writer: Writer,
    parent: Path,
    child: Path,
    *,
    intent: str,
    data: Sequence[Path | str],
    held_out: Sequence[Path | str] = (),
    canaries: Sequence[Path | str] = (),
    recipe: Path | None = None,
    claims: Path | None = None,
) -> Logged:
    """Sign an update and put it into the ledger; it is linked to the changeset that made its parent.

    Raises:
        InputError: bad input, or a parent that the ledger does not know.
    """
    update = open_update(parent, child)
    changeset = build_changeset(
        update,
        author=writer.key.key_id,
        intent=intent,
        created=now(),
        inputs=load_inputs(data, held_out, canaries).described,
        parent_changeset=writer.ledger.changeset_of(update.parent_fingerprint.root),
        environment=describe_environment(),
        parent_name=update.parent.path.resolve().name,
        child_name=update.child.path.resolve().name,
        recipe=load_recipe(recipe) if recipe else None,
        claims=load_claims(claims) if claims else None,
    )
    if (made := proposed(writer.ledger, changeset)) is not None:
        raise InputError(f"this update is proposed already, as {made[:12]}", remedy="audit it with weightgate gate")
    return writer.add_changeset(changeset)


def rollback(writer: Writer, to: str, reason: str) -> Logged:
    """Say that an earlier model is in use again: an id, or the root of a model, or enough of either to be the only one.

    Raises:
        InputError: there is no such model, it was never approved, or it is tainted.
    """
    history, ledger = read_history(writer.ledger), writer.ledger
    if to == Genesis.kind or (
        len(to) >= 4 and (ledger.genesis.model.root.startswith(to) or ledger.entries[0].entry.id.startswith(to))
    ):
        made, root = None, ledger.genesis.model.root
    else:
        roots = [node for node in history.nodes.values() if len(to) >= 4 and node.changeset.child.root.startswith(to)]
        node = roots[-1] if roots else history.nodes.get(ledger.find(to).entry.id)
        if node is None:
            raise InputError(f"{to} is neither an update nor a model", remedy="weightgate log lists the updates")
        if not any(a.outcome == "approve" and a.own_policy for a in node.attempts):
            raise InputError(f"{node.id[:12]} was never approved", remedy="choose an approved one, or the genesis")
        if node.tainted:
            raise InputError(f"{node.id[:12]} is tainted: {node.tainted}", remedy="choose an earlier one")
        made, root = node.id, node.changeset.child.root
    if history.head.root == root and history.head.changeset == made:
        raise InputError(f"{root[:12]} is in use already", remedy="weightgate log marks the one in use as head")
    return writer.add(Rollback(created=now(), author=writer.key.key_id, reason=reason, root=root, changeset=made))


def revoke(writer: Writer, update: str, reason: str, *, data: bool) -> Logged:
    """Say that an update, and with ``data`` whatever was trained on its training data, is not to be used any more.

    Raises:
        InputError: there is no such update, or ``data`` was asked for and it names none.
    """
    found = writer.ledger.find(update)
    if not isinstance(found.document, Changeset):
        raise InputError(f"{update} is no update but a {found.entry.type}", remedy="weightgate log lists the updates")
    digests = tuple(sorted(data_digests(found.document))) if data else ()
    if data and not digests:
        raise InputError(f"{update} names no training data", remedy="leave --data out")
    event = Revoke(created=now(), author=writer.key.key_id, reason=reason, changeset=found.entry.id, data=digests)
    return writer.add(event)


def change_policy(writer: Writer, policy: str, reason: str) -> Logged:
    """Make another policy the repository's.

    Raises:
        InputError: it is no policy, or is the repository's already.
    """
    text = _policy_bytes(policy)
    changes = list(writer.ledger.of(PolicyChange).values())
    if sha256_hex(text) == (changes[-1].policy_file if changes else writer.ledger.genesis.policy_file):
        raise InputError(f"{policy} is the repository's policy already", remedy="nothing to do")
    event = PolicyChange(
        created=now(),
        author=writer.key.key_id,
        reason=reason,
        policy_file=sha256_hex(text),
        policy=resolve(policy).digest,
    )
    return writer.add(event, files={POLICY: text})


def admit(writer: Writer, public_key: Path, reason: str) -> Logged:
    """Let one more key sign.

    Raises:
        InputError: it is no public key, or may sign already.
    """
    key = load_public(public_key)
    if key.key_id in writer.ledger.keys:
        raise InputError(f"{key.key_id} may sign already", remedy="nothing to do")
    event = Admit(created=now(), author=writer.key.key_id, reason=reason, key=key.key_id)
    return writer.add(event, files={key_file(key.key_id): key.public_pem})


def _policy_bytes(policy: str) -> bytes:
    return (PACKS / f"{policy}.yaml" if policy in packs() else Path(policy)).read_bytes()
