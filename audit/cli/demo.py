"""weightgate demo: the tour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.audit.demo.tour import Stop


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate demo --fast")(demo)


def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("weightgate-demo"),
    fast: Annotated[bool, typer.Option("--fast", help="Tiny models trained on the spot, under two minutes.")] = False,
    model: Annotated[Path | None, typer.Option(help="SmolLM2-135M-Instruct as a folder, instead of the wheel.")] = None,
) -> None:
    """Make a safety-tuned parent, a benign and a harmful update of it, and put both through the gate.

    Exits 0 where both got their verdict, approve and block. Models are cached between runs.
    """
    from weightgate.audit.cli.live import progress
    from weightgate.audit.environment import require_extra

    require_extra("probes" if fast else "demo", "weightgate demo")
    from weightgate.audit.demo.tour import tour

    with progress() as say:
        if fast:
            from weightgate.audit.demo.fast import fast_cast

            cast = fast_cast(say)
        else:
            from weightgate.audit.demo.real import real_cast

            cast = real_cast(model, say)
        stops = tour(cast, out, progress=say)
    _show(stops, out)
    raise typer.Exit(0 if all(stop.as_expected for stop in stops) else 1)


def _show(stops: tuple[Stop, ...], out: Path) -> None:
    if console.SETTINGS.json:
        console.emit(
            {
                "as_expected": all(stop.as_expected for stop in stops),
                "runs": [
                    {
                        "name": stop.candidate.name,
                        "expected": stop.candidate.expected,
                        "verdict": stop.record.decision.verdict,
                        "run": str(stop.folder),
                    }
                    for stop in stops
                ],
            }
        )
        return
    from weightgate.reports.terminal import render_terminal

    target = console.out()
    for stop in stops:
        if not console.SETTINGS.quiet:
            render_terminal(stop.record, target)
        mark = "as planted" if stop.as_expected else f"but it was planted to get: {stop.candidate.expected}"
        target.print(f"{stop.candidate.name}: {stop.record.decision.verdict}, {mark}", soft_wrap=True, markup=False)
        target.print(f"  {stop.folder / 'report.html'}\n", soft_wrap=True, markup=False)
    if not console.SETTINGS.quiet:
        last = stops[-1].folder
        target.print(
            f"Check it: weightgate verify {last} --public-key {out / 'demo.pub'}", soft_wrap=True, markup=False
        )
