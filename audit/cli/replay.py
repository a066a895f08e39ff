"""weightgate replay: runs the recipe of a changeset again and compares."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.lineage.recipe import Recipe
    from weightgate.lineage.replay import Replay

EXIT = {"bit-exact": 0, "within-tolerance": 0, "differs": 1, "not-replayable": 3}
_COLOUR = {"bit-exact": "bold green", "within-tolerance": "bold green", "differs": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: weightgate replay weightgate-runs/v4/changeset.json --parent models/v3 --child models/v4"
    )(replay)


def replay(
    changeset: Annotated[Path, typer.Argument(help="Signed changeset with a recipe.", metavar="CHANGESET")],
    *,
    parent: Annotated[Path, typer.Option(help="The parent of the changeset.")],
    child: Annotated[Path, typer.Option(help="The child of the changeset.")],
    workdir: Annotated[Path, typer.Option(help="Folder with the recipe's inputs.")] = Path(),
    public_key: Annotated[Path | None, typer.Option(help="PEM of who signed the changeset. Or yours.")] = None,
    key: Annotated[Path | None, typer.Option(help="Signing key of the attestation. Or yours.")] = None,
    out: Annotated[Path | None, typer.Option(help="Attestation; default replay.json beside CHANGESET.")] = None,
    threads: Annotated[int | None, typer.Option(help="Other threads than the recipe says.", min=1)] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Time the command may take.", min=0)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run the command without asking.")] = False,
) -> None:
    """Make the child again from its signed recipe, compare the weights and sign what came of it.

    THIS RUNS SOMEBODY'S CODE with your rights, in a scratch copy of the inputs.

    Exits 0 bit-exact or within the declared tolerance, 1 other weights, 3 not replayable, 2 bad input, 4 integrity.
    """
    from weightgate.audit.cli.live import Lines
    from weightgate.audit.progress import Silent
    from weightgate.audit.replay import replay as run_replay
    from weightgate.lineage.signing.keys import default_public_key, load_public

    believed = load_public(public_key) if public_key else default_public_key()
    found, target = run_replay(
        changeset,
        parent=parent,
        child=child,
        believed=believed,
        confirm=lambda recipe: _confirm(recipe, threads, yes=yes),
        workdir=workdir,
        key=key,
        out=out,
        threads=threads,
        max_minutes=max_minutes,
        progress=Silent() if console.SETTINGS.quiet else Lines(),  # a bar would run into the question
    )
    _show(found, target)
    raise typer.Exit(EXIT[found.outcome])


def _confirm(recipe: Recipe, threads: int | None, *, yes: bool) -> bool:
    """Say what will be run, and ask."""
    given = [f"{name}={shlex.quote(value)}" for name, value in sorted(recipe.environment.items())]
    console.warn(f"about to run: {' '.join([*given, shlex.join(recipe.command)])}")
    used = threads or recipe.threads
    console.warn(
        f"  in {recipe.directory} of a scratch copy of {len(recipe.inputs)} files, "
        f"with {'any number of' if used is None else used} threads and your rights"
    )
    if recipe.allowed:
        console.warn(f"  it may read your variables {', '.join(recipe.allowed)}")
    if yes:
        return True
    return sys.stdin.isatty() and typer.confirm("Run it?", default=False, err=True)


def _show(found: Replay, target: Path) -> None:
    if console.SETTINGS.json:
        console.emit(found.model_dump(mode="json") | {"attestation": str(target)})
        return
    if console.SETTINGS.quiet:
        typer.echo(f"{found.outcome} {target}")
        return
    from rich.text import Text

    from weightgate.lineage.replay import worst_of

    out = console.out()
    out.print(Text(found.outcome.replace("-", " "), _COLOUR.get(found.outcome, "bold yellow")))
    if found.outcome == "bit-exact":
        others = "configuration and tokenizer as well" if found.same_files else "but configuration or tokenizer differ"
        out.print(f"  every tensor came out as it was signed, {others}", soft_wrap=True)
    elif found.tensors_differing:
        largest, norm = (f"{v:.3g}" if v is not None else "no finite number" for v in worst_of(found.tensors))
        out.print(
            f"  {found.tensors_differing} tensors differ; max abs {largest}, relative norm {norm}", soft_wrap=True
        )
        declared = found.tolerance
        said = f"max abs {declared.max_abs:g}, relative norm {declared.relative_norm:g}" if declared else "none"
        out.print(f"  tolerance declared in the recipe: {said}", soft_wrap=True)
    for reason in found.reasons:
        out.print(Text(f"  {console.printable(reason)}"), soft_wrap=True)
    out.print(Text(f"Attestation: {console.printable(str(target))}"), soft_wrap=True)
