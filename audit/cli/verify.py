"""weightgate verify: signatures, digests and links of a run folder, a changeset or a signed model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.audit.verify import Verification
    from weightgate.lineage.trust.tally import RoleTally


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate verify weightgate-runs/v4 --public-key team.pub --model models/v4")(verify)


def verify(
    target: Annotated[
        Path | None,
        typer.Argument(help="Run folder, changeset, signed model or ledger; by default the ledger here."),
    ] = None,
    *,
    to_genesis: Annotated[
        bool, typer.Option("--to-genesis", help="Verify the ledger that TARGET is or holds: the whole history.")
    ] = False,
    public_key: Annotated[
        list[Path] | None, typer.Option(help="PEM of the signer to believe; repeat it for claims by others. Or yours.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust root: who may sign and who has to approve.")] = None,
    approvals: Annotated[Path | None, typer.Option(help="Folder of approvals, if not the run's own.")] = None,
    tsa_root: Annotated[list[Path] | None, typer.Option(help="PEM of roots of timestamping authorities.")] = None,
    model: Annotated[Path | None, typer.Option(help="The child's folder, to hash again and compare.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Proof of one tensor of --model: reads no other.")] = None,
    tensor: Annotated[str | None, typer.Option(help="Name that the proof has to be of.")] = None,
    parent: Annotated[Path | None, typer.Option(help="The parent's folder: compares both, checks claims.")] = None,
    merge_of: Annotated[list[Path] | None, typer.Option(help="Model of a claimed merge.")] = None,
    parent_changeset: Annotated[Path | None, typer.Option(help="Changeset that made the parent.")] = None,
    signature: Annotated[Path | None, typer.Option(help="Signature of the model, if not model.sig in it.")] = None,
    certificate_chain: Annotated[
        list[Path] | None, typer.Option(help="PEM of the roots of a signer to believe.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="E-mail, URI or host that the certificate is for.")] = None,
    ignore_paths: Annotated[list[str] | None, typer.Option(help="Unsigned file or folder to allow.")] = None,
    ignore_unsigned_files: Annotated[bool, typer.Option(help="Allow every unsigned file.")] = False,
) -> None:
    """Check who signed what, that nothing was changed since, and that the policy decides the same again.

    Exits 0 where everything holds, 4 at the first thing that does not, 2 on bad input.
    """
    from weightgate.audit.cli.verify_ledger import show_ledger
    from weightgate.audit.verify_ledger import is_ledger
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.oms import SIGNATURE

    if target is None or to_genesis or is_ledger(target):
        if model is not None:
            raise InputError("--model is not for ledgers", remedy="verify the run or the model by itself")
        show_ledger(target, public_key, trust)
        return
    beside, stamps = _Beside(None if proof else model, parent_changeset, approvals), tuple(tsa_root or ())
    is_model = signature is not None or (target / SIGNATURE).exists()
    signed = _Signed(signature, tuple(ignore_paths or ()), ignore_unsigned_files)
    if trust is not None and (public_key or certificate_chain or identity):
        raise InputError("a trust root names the signers", remedy="leave --public-key and certificates out")
    if not is_model and (certificate_chain or identity or ignore_paths or ignore_unsigned_files):
        raise InputError(f"{target} holds no {SIGNATURE}: not a signed model", remedy="sign it, or give --signature")
    if (proof or tensor) and (proof is None or is_model or parent):
        raise InputError("a proof is of one tensor of a run or changeset", remedy="give --proof, without --parent")
    if parent is not None and (model is None or is_model):
        raise InputError("the parent alone says nothing of an update", remedy="give a run or changeset, and --model")
    if trust is not None:
        result = _trusted(target, trust, signed if is_model else beside, stamps)
        _show(_compared(_proved(result, proof, tensor, model), parent, model, merge_of), key=None)
    elif is_model:
        _show(
            _model(target, public_key, signed, chain=certificate_chain, identity=identity, tsa_roots=stamps), key=None
        )
    else:
        result, key_id = _run(target, public_key, beside)
        _show(_compared(_proved(result, proof, tensor, model), parent, model, merge_of), key=key_id)


def _proved(result: Verification, proof: Path | None, tensor: str | None, model: Path | None) -> Verification:
    """With a proof at hand, one tensor is checked alone."""
    if proof is None:
        return result
    from weightgate.audit.verify_update import verify_tensor

    return verify_tensor(result, proof, tensor, model)


def _compared(
    result: Verification, parent: Path | None, model: Path | None, merge_of: list[Path] | None
) -> Verification:
    """With the parent at hand, what changed is compared again."""
    if parent is None or model is None:
        return result
    from weightgate.audit.verify_update import verify_update

    return verify_update(result, parent, model, merge_of or ())


class _Beside(NamedTuple):
    """What is checked with a run."""

    model: Path | None
    parent_changeset: Path | None
    approvals: Path | None


class _Signed(NamedTuple):
    """How the files of a signed model are checked."""

    signature: Path | None
    ignore_paths: tuple[str, ...]
    ignore_unsigned_files: bool


def _trusted(target: Path, trust: Path, options: _Beside | _Signed, tsa_roots: tuple[Path, ...]) -> Verification:
    if isinstance(options, _Signed):
        from weightgate.audit.verify_trust_model import verify_trusted_model

        return verify_trusted_model(target, trust, **options._asdict(), tsa_roots=tsa_roots)
    from weightgate.audit.verify_trust import verify_trusted

    return verify_trusted(target, trust, **options._asdict(), tsa_roots=tsa_roots)


def _model(
    target: Path,
    public_keys: list[Path] | None,
    signed: _Signed,
    *,
    chain: list[Path] | None,
    identity: str | None,
    tsa_roots: tuple[Path, ...],
) -> Verification:
    from weightgate.audit.verify_model import verify_signed_model

    return verify_signed_model(
        target,
        public_keys=public_keys or _own_key(),
        certificate_chain=chain or (),
        identity=identity,
        **signed._asdict(),
        tsa_roots=tsa_roots,
    )


def _run(target: Path, public_keys: list[Path] | None, beside: _Beside) -> tuple[Verification, str]:
    from weightgate.audit.verify import verify as verify_run
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import default_public_key, load_public

    if public_keys and len(public_keys) > 1:
        raise InputError("one signer made a run", remedy="give one --public-key")
    key = load_public(public_keys[0]) if public_keys else default_public_key()
    found = verify_run(target, key, model=beside.model, parent_changeset=beside.parent_changeset)
    return found, key.key_id


def _own_key() -> list[Path]:
    from weightgate.lineage.signing.keys import default_key_path

    own = default_key_path().with_suffix(".pub")
    return [own] if own.exists() else []


def _role(tallied: RoleTally) -> dict[str, object]:
    return {
        "role": tallied.role,
        "threshold": tallied.threshold,
        "count": tallied.count,
        "reached": tallied.reached,
        "approvers": [
            {
                "holder": approver.holder,
                "key": approver.approval.approver,
                "time": approver.approval.time,
                "reason": approver.approval.reason,
                "file": approver.file,
                "counts": approver.counts,
                "note": approver.note,
            }
            for approver in tallied.approvers
        ],
    }


def _show(result: Verification, *, key: str | None) -> None:
    if console.SETTINGS.json:
        console.emit(
            {
                "verified": True,
                "target": str(result.target),
                "verdict": result.verdict,
                "changeset": result.changeset,
                "key": key,
                "roles": [_role(tallied) for tallied in result.roles],
                "checks": [{"name": c.name, "detail": c.detail} for c in result.checks],
            }
        )
        return
    if console.SETTINGS.quiet:
        typer.echo("verified")
        return
    from rich.text import Text

    out = console.out()
    for check in result.checks:
        line = Text.assemble(("  ok  ", "green"), (f"{check.name}: ", "bold"), console.printable(check.detail))
        out.print(line, soft_wrap=True)
    said = f"; the verdict is {result.verdict}" if result.verdict else ""
    out.print(Text.assemble(("verified", "bold green"), f"{said}"), soft_wrap=True)
