"""weightgate gate: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.audit.cli.report import formats

if TYPE_CHECKING:
    from weightgate.reports.record import AuditRecord

EXIT = {"approve": 0, "block": 1, "review": 3}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate gate models/v3 models/v4 --data train.jsonl --held-out held_out.jsonl")(
        gate
    )


def gate(
    parent: Annotated[str, typer.Argument(help="Model in use: a folder, or a hub id.", metavar="PARENT")],
    child: Annotated[
        str, typer.Argument(help="Proposed model: a folder, a PEFT adapter folder, or a hub id.", metavar="CHILD")
    ],
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Policy pack (default, strict, research) or YAML file. By default the repository's (see init), or "
            "else the pack 'default'."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Training rows: JSONL, CSV or Parquet FILE, git:PATH@REV, dvc:PATH[@REV], hf:NAME[@REV] or "
            "mlflow:RUN; repeatable.",
            metavar="DATA",
        ),
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Rows of the same source, not trained on.", metavar="DATA")
    ] = None,
    canaries: Annotated[
        list[str] | None, typer.Option(help="Secrets planted in the training data.", metavar="DATA")
    ] = None,
    intent: Annotated[str, typer.Option(help="What the update is for; signed with the changeset.")] = "",
    parent_changeset: Annotated[Path | None, typer.Option(help="Signed changeset that made the parent.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="How the child was made (YAML, JSON); for replay.")] = None,
    claims: Annotated[Path | None, typer.Option(help="What is claimed of the weights, YAML or JSON.")] = None,
    blake3: Annotated[bool, typer.Option("--blake3", help="Sign BLAKE3 tensor roots beside SHA-256.")] = False,
    merge_of: Annotated[list[Path] | None, typer.Option(help="Model that the child was merged from.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger to record in; by default the one of this repository, if it has one.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Signing key, PKCS#8 PEM (see keygen).")] = None,
    second_key: Annotated[Path | None, typer.Option(help="Key of another scheme that signs as well.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default weightgate-runs/CHILD-TIME.")] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Reports to add to the run: sarif,junit,… as in weightgate report; a single one is printed.",
            metavar="LIST",
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of every sampled choice.", min=0)] = 0,
    max_minutes: Annotated[float | None, typer.Option(help="Time budget; what does not fit is skipped.", min=0)] = None,
    probes: Annotated[str, typer.Option(help="Comma-separated name patterns, for example 'alignment.*'.")] = "*",
    controls: Annotated[bool, typer.Option(help="Check every probe on a planted defect.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")] = False,
    row_index: Annotated[bool, typer.Option(help="Keep digests of the training rows, to trace rows by.")] = True,
    early_stop: Annotated[
        bool, typer.Option("--early-stop", help="Stop asking where the policy's questions are settled.")
    ] = False,
    executor: Annotated[
        str, typer.Option(help="Where models run: local, ray, ray:auto or ray://HOST:PORT.", metavar="WHERE")
    ] = "local",
    backend: Annotated[
        str, typer.Option(help="What runs them: transformers, or vllm.", metavar="WHAT")
    ] = "transformers",
    parent_endpoint: Annotated[
        str | None, typer.Option(help="Where PARENT is served: openai:URL#MODEL.", metavar="SPEC")
    ] = None,
    child_endpoint: Annotated[
        str | None, typer.Option(help="Where CHILD is served: openai:URL#MODEL.", metavar="SPEC")
    ] = None,
    noise_floor: Annotated[
        bool, typer.Option("--noise-floor", help="Measure the parent against itself as well.")
    ] = False,
    advisory: Annotated[bool, typer.Option("--advisory", help="Say what the verdict would be, but exit 0.")] = False,
) -> None:
    """Audit the update PARENT → CHILD, decide by policy, sign the verdict and write the reports.

    Exits 0 approve, 1 block, 3 review, 2 bad input, 4 integrity.
    """
    from weightgate.audit.cli.live import progress
    from weightgate.audit.gate import gate as run_gate
    from weightgate.audit.report_files import write_reports
    from weightgate.lineage.history.ledger import find_ledger
    from weightgate.probes.engine.serving import Serving

    serving = Serving.parse(
        executor=executor, backend=backend, parent_endpoint=parent_endpoint, child_endpoint=child_endpoint
    )

    wanted = formats(format_)
    with progress() as say:
        record, folder = run_gate(
            parent,
            child,
            policy=policy,
            data=data or (),
            held_out=held_out or (),
            canaries=canaries or (),
            intent=intent,
            parent_changeset=parent_changeset,
            ledger=ledger or find_ledger(Path.cwd()),
            recipe=recipe,
            claims=claims,
            merge_of=merge_of or (),
            blake3=blake3,
            key=key,
            second_key=second_key,
            out=out,
            seed=seed,
            max_minutes=max_minutes,
            probes=tuple(p.strip() for p in probes.split(",") if p.strip()),
            controls=controls,
            resume=resume,
            row_index=row_index,
            early_stop=early_stop,
            serving=serving,
            noise_floor=noise_floor,
            progress=say,
        )
    files = write_reports(folder, record, wanted)
    _show(record, folder, wanted, files)
    raise typer.Exit(0 if advisory else EXIT[record.decision.verdict])


def _show(record: AuditRecord, folder: Path, wanted: tuple[str, ...], files: tuple[Path, ...]) -> None:
    from weightgate.reports.formats import render
    from weightgate.reports.terminal import render_terminal

    if console.SETTINGS.json or wanted == ("json",):
        console.emit(record.model_dump(mode="json") | {"run": str(folder)})
    elif len(wanted) == 1:
        typer.echo(render(record, wanted[0]), nl=False)
    elif console.SETTINGS.quiet:
        typer.echo(f"{record.decision.verdict} {folder}")
    else:
        render_terminal(record, console.out())
        for path in (folder / "report.html", *files):
            console.out().print(f"Report: {path}", soft_wrap=True, markup=False)
