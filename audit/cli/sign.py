"""weightgate sign: a signature in a model that everyone can check, and the audit's attestations beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.policies.quantity import count

if TYPE_CHECKING:
    from weightgate.audit.sign import Signing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: weightgate sign models/v4 --key release.pem --changeset weightgate-runs/v4/changeset.json "
        "--verdict weightgate-runs/v4/verdict.json"
    )(sign)


def sign(
    model: Annotated[Path, typer.Argument(help="Folder of the model.", metavar="MODEL")],
    *,
    key: Annotated[Path | None, typer.Option(help="Private key: ECDSA on P-256, P-384 or P-521.")] = None,
    certificate_chain: Annotated[
        list[Path] | None, typer.Option(help="PEM of the key's certificate, then of what leads to its root.")
    ] = None,
    ignore_paths: Annotated[
        list[str] | None, typer.Option(help="File or folder of the model to leave out; the signature says so.")
    ] = None,
    changeset: Annotated[Path | None, typer.Option(help="Signed changeset to lay beside the model.")] = None,
    verdict: Annotated[Path | None, typer.Option(help="Signed verdict to lay beside the model.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Signed replay to lay beside the model.")] = None,
    approval: Annotated[list[Path] | None, typer.Option(help="Approval to lay beside the model; repeatable.")] = None,
    second_key: Annotated[Path | None, typer.Option(help="Key of another scheme that signs the model too.")] = None,
    public_key: Annotated[
        list[Path] | None, typer.Option(help="Who signed these, if neither this key nor your own.")
    ] = None,
    signature: Annotated[Path | None, typer.Option(help="Where to write, if not model.sig in the model.")] = None,
    append: Annotated[bool, typer.Option(help="Add claims only; the signature stays as it is.")] = False,
    force: Annotated[bool, typer.Option(help="Sign anew where a signature is there.")] = False,
) -> None:
    """Sign a model as OpenSSF Model Signing v1.0 asks, and lay an audit's signed statements beside it.

    Exits 0 when all is written, 2 on bad input, 4 where a statement does not check out; then nothing is written.
    """
    from weightgate.audit.sign import sign as run_sign

    result = run_sign(
        model,
        key=key,
        certificate_chain=certificate_chain or (),
        ignore_paths=ignore_paths or (),
        changeset=changeset,
        verdict=verdict,
        replay=replay,
        approvals=approval or (),
        second_key=second_key,
        public_keys=public_key or (),
        signature=signature,
        append=append,
        force=force,
    )
    if console.SETTINGS.json:
        console.emit(_document(result))
        return
    if result.note:
        console.warn(result.note)
    done = (
        "left as it is" if append else f"{count(len(result.manifest.resources), 'file')}, digest {result.manifest.root}"
    )
    typer.echo(console.printable(f"{result.signature}: {done}"))
    for claim in result.claims:
        typer.echo(console.printable(f"claim: {claim.detail}"))


def _document(result: Signing) -> dict[str, object]:
    return {
        "signature": str(result.signature),
        "files": len(result.manifest.resources),
        "digest": {"sha256": result.manifest.root, **result.manifest.digests},
        "ignore_paths": list(result.manifest.ignore_paths),
        "claims": [{"kind": claim.kind, "signer": claim.signer, "payload": claim.payload} for claim in result.claims],
        "claims_added": result.added,
        "note": result.note,
    }
