"""weightgate probes: what is measured, what each probe needs and what it cannot see."""

from __future__ import annotations

import typer

from weightgate.audit.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate probes --json")(probes)


def probes() -> None:
    """List the probes, what each needs and what it cannot see."""
    from weightgate.audit.environment import require_extra
    from weightgate.probes.probe import parameters
    from weightgate.probes.registry import available

    require_extra("probes", "weightgate probes")
    found = available()
    if console.SETTINGS.json:
        console.emit(
            {
                "probes": [
                    {
                        "name": p.name,
                        "version": p.version,
                        "family": p.family,
                        "title": p.title,
                        "needs": list(p.needs),
                        "limits": list(p.limits),
                        "parameters": parameters(p),
                    }
                    for p in found
                ]
            }
        )
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Probe", "Measures", "Needs"):
        table.add_column(heading, overflow="fold")
    for probe in found:
        table.add_row(probe.name, probe.title, ", ".join(probe.needs))
    console.out().print(table)
    if console.SETTINGS.verbose:
        for probe in found:
            console.out().print(f"\n{probe.name} cannot see:", style="bold")
            for limit in probe.limits:
                console.out().print(f"  - {limit}", markup=False)
