"""weightgate prove: a proof that one tensor belongs to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: weightgate prove models/v4 --tensor lm_head.weight --out lm_head.proof, then "
        "weightgate verify changeset.json --proof lm_head.proof --model shard.safetensors"
    )(prove)


def prove(
    model: Annotated[Path, typer.Argument(help="The whole model, read once.", metavar="MODEL")],
    *,
    tensor: Annotated[str, typer.Option(help="Name of the tensor.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Write a proof by which one tensor is checked against a signed changeset, without the others."""
    from weightgate.audit.cli.live import progress
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.weights.checkpoint import Checkpoint
    from weightgate.lineage.weights.fingerprint import fingerprint
    from weightgate.lineage.weights.tensor_proof import proof_bytes
    from weightgate.lineage.weights.tensor_proof import prove as make

    with progress() as say:
        say.step("Reading and hashing the model")
        found = fingerprint(Checkpoint.open(model), progress=lambda done: say.advance("bytes", done, 0))
    data = proof_bytes(make(found, tensor))
    try:
        out.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
    if console.SETTINGS.json:
        console.emit({"proof": str(out), "tensor": tensor, "tensor_root": found.tensor_root, "bytes": len(data)})
    elif not console.SETTINGS.quiet:
        console.out().print(
            f"{out}: {len(data)} bytes, for tensor root {found.tensor_root}", soft_wrap=True, markup=False
        )
