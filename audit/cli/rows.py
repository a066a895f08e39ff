"""weightgate rows: prove that a row was, or was not, in the data of an update."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.lineage.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from weightgate.audit.signed_updates import SignedUpdate
    from weightgate.lineage.data.row_proof import RowProof
    from weightgate.lineage.data.row_set import RowSet
    from weightgate.lineage.signing.keys import VerifyingKey

ROW = typer.Option(help="The row: a JSON object, a file that holds one, or - for stdin.", metavar="JSON|FILE|-")
KEYS = typer.Option(help="PEM of a signer to believe; repeatable. Or yours.")
DATA = typer.Option(help="The data, where there is no row index beside the changeset.", metavar="DATA")


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    group = typer.Typer(
        help="Prove that a row was, or was not, in the training data of an update.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    group.command(
        epilog="Example: weightgate rows prove --row row.json --changeset runs/v4/changeset.json --out proof.json"
    )(prove)
    group.command(epilog="Example: weightgate rows verify proof.json --changeset changeset.json --row row.json")(verify)
    app.add_typer(group, name="rows")


def prove(
    *,
    row: Annotated[str, ROW],
    changeset: Annotated[Path, typer.Option(help="Signed changeset of the update.")],
    data: Annotated[list[str] | None, DATA] = None,
    public_key: Annotated[list[Path] | None, KEYS] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the proof; stdout without it.")] = None,
) -> None:
    """Write a proof about one row, from the row index beside the changeset or from the data.

    A proof shows digests, never text. Exits 0 whether the row is there or not, 2 on bad input, 4 where data and
    changeset do not belong together.
    """
    from weightgate.audit.signed_updates import read_update
    from weightgate.lineage.data.row_proof import prove as make
    from weightgate.lineage.data.row_query import read_row

    digest = read_row(row, piped(row))
    update = read_update(changeset, believed(public_key))
    proof = make(_rows(update, data), digest, update.digest)
    if out is None:
        sys.stdout.buffer.write(proof.to_bytes())
        return
    try:
        out.write_bytes(proof.to_bytes())
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
    if console.SETTINGS.json:
        console.emit({"proof": str(out), "present": proof.present, "row": proof.row})
    elif not console.SETTINGS.quiet:
        typer.echo(f"{out}: the row {'is' if proof.present else 'is not'} in the data")


def verify(
    proof: Annotated[Path, typer.Argument(help="Proof file.", metavar="PROOF")],
    *,
    changeset: Annotated[Path, typer.Option(help="Signed changeset of the update.")],
    row: Annotated[str | None, ROW] = None,
    public_key: Annotated[list[Path] | None, KEYS] = None,
) -> None:
    """Check a proof against the signed changeset; the data is not needed.

    Without --row it is about whatever row has the digest in it. Exits 0 where it holds, 4 where it does not, 2 on bad
    input.
    """
    from weightgate.audit.signed_updates import read_update
    from weightgate.lineage.data.row_proof import check, read_proof
    from weightgate.lineage.data.row_query import read_row

    read = read_proof(_bytes(proof), str(proof))
    update = read_update(changeset, believed(public_key))
    if row is not None and read_row(row, piped(row)).hex() != read.row:
        raise IntegrityError(f"{proof} is about another row", remedy="ask for a proof about this very row")
    declared = check(read, update.changeset, update.digest)
    _show(read, update, f"{declared.rows} training rows")


def believed(public_key: list[Path] | None) -> list[VerifyingKey]:
    """The keys given, or the user's own."""
    from weightgate.lineage.signing.keys import default_public_key, load_public

    return [load_public(path) for path in public_key] if public_key else [default_public_key()]


def piped(row: str) -> bytes | None:
    """Standard input, where the row comes from there."""
    return sys.stdin.buffer.read() if row == "-" else None


def _rows(update: SignedUpdate, data: list[str] | None) -> RowSet:
    from weightgate.audit.row_index import read_index
    from weightgate.lineage.data.dataset import load_dataset
    from weightgate.lineage.data.row_proof import training_input

    declared = training_input(update.changeset)
    if declared is None or declared.rows_set_root is None:
        raise InputError(f"{update.path} signs no training data to prove from", remedy="audit it again with --data")
    rows = load_dataset(data, "training").row_set if data else read_index([update.path.parent], declared.rows_set_root)
    if rows is None:
        raise InputError(f"{update.path} has no row index beside it", remedy="give the data with --data")
    if rows.root.hex() != declared.rows_set_root:
        raise IntegrityError("this data is not what the changeset signs", remedy="give the data of this very update")
    return rows


def _bytes(path: Path) -> bytes:
    from weightgate.lineage.data.row_proof import MAX_PROOF_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path") from error


def _show(proof: RowProof, update: SignedUpdate, what: str) -> None:
    if console.SETTINGS.json:
        document = {"verified": True, "present": proof.present, "row": proof.row, "changeset": update.digest}
        console.emit(document | {"child": update.changeset.child.root, "author": update.changeset.author})
        return
    if console.SETTINGS.quiet:
        typer.echo("present" if proof.present else "absent")
        return
    said = "is" if proof.present else "is not"
    name = console.printable(update.changeset.child.name)
    typer.echo(f"proven: row {proof.row[:16]}… {said} among the {what} of {name}")
    typer.echo(f"changeset {update.digest[:16]}…, signed by {console.printable(update.changeset.author)}")
