"""weightgate pack and apply: a child as its bit-exact difference from the parent, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.audit.progress import Progress

if TYPE_CHECKING:
    from weightgate.lineage.weights.delta.pack import Packed


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command(epilog="Example: weightgate pack models/v3 models/v4 --out v3-v4.wgd")(pack)
    app.command("apply", epilog="Example: weightgate apply models/v3 v3-v4.wgd --out models/v4")(apply_)


def pack(
    parent: Annotated[Path, typer.Argument(help="The checkpoint that receivers have.", metavar="PARENT")],
    child: Annotated[Path, typer.Argument(help="The checkpoint to write, or an adapter.", metavar="CHILD")],
    *,
    out: Annotated[Path, typer.Option(help="Delta file to make; never overwrites one.")],
) -> None:
    """Write what turns PARENT into CHILD, bit by bit. Pickles are left out. Needs no torch."""
    from weightgate.audit.cli.live import progress
    from weightgate.lineage.weights.delta.pack import pack as write

    with progress() as say:
        packed = write(parent, child, out, progress=_bar(say, "Packing", parent, child, child))
    for name in packed.left_out:
        console.warn(f"left out: {name}")
    _say_packed(packed, out)


def apply_(
    parent: Annotated[Path, typer.Argument(help="The checkpoint the delta was made from.", metavar="PARENT")],
    delta: Annotated[Path, typer.Argument(help="What weightgate pack wrote.", metavar="DELTA")],
    *,
    out: Annotated[Path, typer.Option(help="Folder to make (a file, where CHILD was one); never overwrites one.")],
) -> None:
    """Rebuild the child of a delta, every byte checked. Run again after an interruption, it keeps finished files."""
    from weightgate.audit.cli.live import progress
    from weightgate.lineage.weights.delta.apply import apply

    with progress() as say:
        rebuilt = apply(parent, delta, out, progress=_bar(say, "Applying", parent, parent, parent))
    if console.SETTINGS.json:
        console.emit({"child": str(out), "root": rebuilt.root, "tensor_root": rebuilt.tensor_root})
    else:
        typer.echo(f"{out}\nroot {rebuilt.root}")


def _say_packed(packed: Packed, out: Path) -> None:
    size, header = out.stat().st_size, packed.header
    if console.SETTINGS.json:
        console.emit(
            {
                "delta": str(out),
                "sha256": packed.sha256,
                "bytes": size,
                "child_bytes": header.nbytes,
                "ratio": header.nbytes / size,
                "codecs": dict(packed.codecs),
                "left_out": list(packed.left_out),
                "parent": header.parent.root,
                "child": header.child.root,
            }
        )
        return
    codecs = ", ".join(f"{count} {codec}" for codec, count in sorted(packed.codecs.items()))
    typer.echo(f"{out}: {size / 1e6:.1f} MB for {header.nbytes / 1e6:.1f} MB, {header.nbytes / size:.1f} times smaller")
    typer.echo(f"tensors: {codecs or 'none'}\nparent {header.parent.root}\nchild  {header.child.root}")


def _bar(say: Progress, title: str, *read: Path) -> Callable[[int], None]:
    """Turn bytes done since the last call into a bar over the sizes of ``read``, in MB."""
    total, done = sum(_size(path) for path in read), 0
    say.step(title)

    def advance(count: int) -> None:
        nonlocal done
        done = min(total, done + count)
        say.advance("MB", done // 1_000_000, total // 1_000_000)

    return advance


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*.safetensors")))
