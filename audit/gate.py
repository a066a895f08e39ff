"""The main job, in the order in which it happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import weightgate
from weightgate.audit.claims_file import check_claims_are_probed, claimed_sources, load_claims
from weightgate.audit.environment import describe_environment, require_extra
from weightgate.audit.inputs import Inputs, load_inputs, parent_link
from weightgate.audit.ledger import Announced, Writer, announce
from weightgate.audit.measure import measure
from weightgate.audit.order_key import order_key, update_identity
from weightgate.audit.progress import Progress, Silent
from weightgate.audit.row_index import index_name
from weightgate.audit.run_folder import (
    CHANGESET,
    EVIDENCE,
    RECORD,
    REPORT_HTML,
    REPORT_MARKDOWN,
    VERDICT,
    RunFolder,
    plan_of,
)
from weightgate.lineage.canonical import canonical, digest, sha256_hex
from weightgate.lineage.changeset import Changeset, build_changeset, statement
from weightgate.lineage.recipe import Recipe, load_recipe
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import SigningKey, default_key, load_private
from weightgate.lineage.signing.second import check_second_key, countersign, second_file
from weightgate.lineage.weights.claims import Claims
from weightgate.lineage.weights.update import Update, open_update
from weightgate.policies.decide import decide
from weightgate.policies.policy import Policy, resolve
from weightgate.policies.targets import stopping_targets
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.serving import HERE, Serving
from weightgate.probes.probe import Probe, ProbeContext
from weightgate.probes.registry import select
from weightgate.probes.stopping import Stopping
from weightgate.reports.html import render_html
from weightgate.reports.markdown import render_markdown
from weightgate.reports.record import AttemptRef, AuditRecord
from weightgate.reports.statement import verdict_statement


def gate(
    parent: Path | str,
    child: Path | str,
    *,
    policy: Path | str | None = None,
    data: Sequence[Path | str] = (),
    held_out: Sequence[Path | str] = (),
    canaries: Sequence[Path | str] = (),
    intent: str = "",
    names: tuple[str, str] | None = None,
    parent_changeset: Path | None = None,
    recipe: Path | None = None,
    claims: Path | None = None,
    merge_of: Sequence[Path] = (),
    blake3: bool = False,
    ledger: Path | None = None,
    key: Path | None = None,
    second_key: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    max_minutes: float | None = None,
    probes: Sequence[str] = ("*",),
    controls: bool = True,
    resume: bool = False,
    row_index: bool = True,
    early_stop: bool = False,
    serving: Serving = HERE,
    noise_floor: bool = False,
    progress: Progress | None = None,
) -> tuple[AuditRecord, Path]:
    """Audit the update from ``parent`` to ``child``; return the signed record and the folder it was written to.

    Args:
        parent: Model folder of the version in use (safetensors), or a hub id where a hub is reachable.
        child: Model folder of the proposed version, or a PEFT adapter folder to be applied to the parent.
        policy: Name of a shipped policy pack, or a YAML file; by default the ledger's, or ``default`` without one.
        data: Training rows of the update: JSONL, CSV or Parquet files, or what git, DVC, MLflow or a hub names.
        held_out: Rows from the same source that were not trained on.
        canaries: Secrets planted in the training data.
        intent: What the update is for, in the author's words; signed with the changeset.
        names: Labels of parent and child in the changeset; by default the names of their folders.
        parent_changeset: Signed changeset that made the parent; the new one is chained to it.
        recipe: YAML or JSON file that says how the child was made; signed with the changeset, never run here.
        claims: What the author says about the weights (YAML or JSON): checked, and signed with the changeset.
        merge_of: Models that the child was merged from, beside the parent; by default those that ``claims`` names.
        ledger: Ledger that records changeset, attempt and verdict; the command line finds the repository's.
        blake3: Sign second tensor roots, over BLAKE3 digests, beside those over SHA-256.
        key: PKCS#8 PEM file of the signer; without it a key is made once in the user's configuration folder.
        second_key: Key of another scheme that signs changeset and verdict too, where a trust root asks for it.
        out: Run folder; by default a new one under ``weightgate-runs``.
        seed: Seed of every sampled choice.
        max_minutes: Time budget; probes that do not fit are recorded as skipped.
        probes: Shell-style patterns of probe names.
        controls: Run every probe on a pair with its defect planted first.
        resume: Continue an unfinished run folder; what was scored is not scored again.
        row_index: Keep the digests of the training rows in the run folder, by which rows are traced.
        early_stop: Let probes that can hand over their items in parts stop where the policy's questions are settled.
        serving: What runs the models: this process by default.
        noise_floor: Measure the parent against itself as well; limits below what is found are not judged.
        progress: Receives the steps.

    Raises:
        InputError: anything wrong with a file, an option or the pair.
        IntegrityError: the parent's changeset does not verify or made another model.
    """
    require_extra("probes", "weightgate gate")
    say = progress or Silent()
    now = datetime.now(UTC).replace(microsecond=0)
    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else None
    signer = load_private(key) if key else default_key()
    history = Writer.open(ledger, signer) if ledger else None
    chosen, rules = select(probes), _rules(policy, history)
    said = load_claims(claims) if claims else None
    check_claims_are_probed(said, chosen)
    second = _second(second_key, signer)

    say.step("Reading and hashing both checkpoints")
    update = open_update(
        resolve_model(parent),
        resolve_model(child),
        sources=merge_of or claimed_sources(said, claims),
        blake3=blake3,
        progress=lambda done: say.advance("bytes", done, 0),
    )
    inputs = load_inputs(data, held_out, canaries)
    link = parent_link(parent_changeset, update, signer) if parent_changeset else None
    link = history.link(update.parent_fingerprint.root, link) if history else link
    made_by = load_recipe(recipe) if recipe else None
    plan = _plan(
        update,
        inputs,
        rules,
        chosen,
        seed=seed,
        intent=intent,
        link=link,
        recipe=made_by,
        claims=said,
        early_stop=early_stop,
        served=serving.plan,
        noise_floor=noise_floor,
    )
    labels = names or (update.parent.path.name, update.child.path.name)
    folder = RunFolder.create(out, plan=plan, name=labels[1], now=now, resume=resume)

    changeset = build_changeset(
        update,
        author=signer.key_id,
        intent=intent,
        created=_rfc3339(now),
        inputs=inputs.described,
        parent_changeset=link,
        environment=describe_environment(),
        parent_name=labels[0],
        child_name=labels[1],
        recipe=made_by,
        claims=said,
    )
    attempt = _announce(history, changeset, plan, rules, chosen, seed=seed, resume=resume) if history else None
    changeset = attempt.changeset if attempt else changeset
    payload = statement(changeset)
    if second:
        folder.write(second_file(Path(CHANGESET)).name, countersign(payload, second))
    folder.write(CHANGESET, attempt.envelope if attempt else sign(payload, signer).to_bytes())
    if row_index and inputs.data is not None and inputs.data.row_set is not None:
        folder.write(index_name(inputs.data.row_set.root.hex()), inputs.data.row_set.to_bytes())

    engine = Engine.open(update, cache=ScoreCache.default(), deadline=deadline, progress=say.advance, serving=serving)
    stopping = _stopping(update, rules) if early_stop else None
    context = ProbeContext(
        update=update,
        engine=engine,
        seed=seed,
        data=inputs.data,
        held_out=inputs.held_out,
        canaries=inputs.canaries,
        stopping=stopping,
        claims=said,
    )
    with contextlib.closing(engine):
        results, costs = measure(
            chosen, context, controls=controls, progress=say, one_plan=deadline is None, noise=noise_floor
        )

    say.step("Deciding, signing and reporting")
    record = AuditRecord(
        tool=f"weightgate {weightgate.__version__}",
        created=_rfc3339(datetime.now(UTC)),
        seed=seed,
        engine=engine.numerics,
        changeset_digest=sha256_hex(payload),
        changeset=changeset,
        results=results,
        policy=rules,
        decision=decide(rules, results),
        item_order_key=stopping.key.hex() if stopping else "",
        costs=costs,
        attempt=AttemptRef(id=attempt.id, number=attempt.number) if attempt else None,
    )
    _write(folder, record, signer, second, attempt)
    return record, folder.path


def resolve_model(model: Path | str) -> Path:
    """A local folder or file as it is; otherwise a hub id, fetched as safetensors where a hub is reachable.

    Raises:
        InputError: neither there nor fetchable.
    """
    from weightgate.audit.hub import fetch

    path = Path(model)
    return path if path.exists() else fetch(str(model))


def _rules(policy: Path | str | None, history: Writer | None) -> Policy:
    if policy is None:
        return resolve(history.ledger.policy()) if history else resolve("default")
    return resolve(str(policy))


def _announce(
    history: Writer,
    changeset: Changeset,
    plan: Mapping[str, object],
    rules: Policy,
    probes: Sequence[Probe],
    *,
    seed: int,
    resume: bool,
) -> Announced:
    """What will be measured and how it will be judged is logged before anything is: no audit is tried in secret."""
    asked = [(probe.name, probe.version) for probe in probes]
    return announce(history, changeset, policy=rules, probes=asked, seed=seed, plan=str(plan["digest"]), resume=resume)


def _second(path: Path | None, first: SigningKey) -> SigningKey | None:
    if path is None:
        return None
    key = load_private(path)
    check_second_key(first.public.kind, key.public)
    return key


def _stopping(update: Update, policy: Policy) -> Stopping:
    identity = update_identity(update)
    return Stopping(key=order_key(identity), update=identity, targets=stopping_targets(policy), level=policy.level)


def _plan(
    update: Update,
    inputs: Inputs,
    policy: Policy,
    probes: Sequence[Probe],
    *,
    seed: int,
    intent: str,
    link: str | None,
    recipe: Recipe | None,
    early_stop: bool,
    noise_floor: bool,
    claims: Claims | None,
    served: Mapping[str, str],
) -> dict[str, object]:
    """Everything the result depends on, by digest: what a resumed run must have in common with the first attempt."""
    return plan_of(
        parent=update.parent_fingerprint.root,
        child=update.child_fingerprint.root,
        policy=policy.digest,
        probes=[f"{probe.name} {probe.version}" for probe in probes],
        inputs=[f"{described.role} {described.sha256}" for described in inputs.described],
        seed=seed,
        intent=intent,
        parent_changeset=link or "",
        recipe=digest(recipe) if recipe else "",
        claims=digest(claims) if claims else "",
        tool=weightgate.__version__,
        **({"early_stop": True} if early_stop else {}),
        **({"noise_floor": True} if noise_floor else {}),
        **({"merge_of": [source.root for source in merge.sources]} if (merge := update.delta.facts.merge) else {}),
        **({"blake3": True} if update.child_fingerprint.tensor_root_blake3 else {}),
        **served,
    )


def _write(
    folder: RunFolder,
    record: AuditRecord,
    signer: SigningKey,
    second: SigningKey | None,
    attempt: Announced | None = None,
) -> None:
    """Evidence, record and reports first; then the signed verdict, into the log before anyone can read it here."""
    evidence = {f"{EVIDENCE}/{result.probe}.json": canonical(result) for result in record.results}
    document = canonical(record)
    for name, data in evidence.items():
        folder.write(name, data)
    folder.write(RECORD, document)
    folder.write(REPORT_HTML, render_html(record).encode())
    folder.write(REPORT_MARKDOWN, render_markdown(record).encode())
    digests = {name: sha256_hex(data) for name, data in evidence.items()}
    verdict = verdict_statement(record, digests, sha256_hex(document))
    if second:
        folder.write(second_file(Path(VERDICT)).name, countersign(verdict, second))
    envelope = sign(verdict, signer)
    if attempt:
        attempt.finish(envelope)
    folder.finish(envelope.to_bytes())


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
