"""The command line: one Typer application, one module a command."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from weightgate.audit.cli import console
from weightgate.lineage.errors import WeightgateError

app = typer.Typer(
    name="weightgate",
    help="A pull request for weights: audit, decide and sign every model update before it is deployed.",
    epilog="-q, -v, --json and --no-color work before and after the command. "
    "Exit codes: 0 approve, 1 block, 2 bad input, 3 review, 4 integrity.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

GLOBAL_FLAGS = {"-q", "--quiet", "-v", "--verbose", "--json", "--no-color"}


def _version(value: bool) -> None:
    if value:
        import weightgate

        typer.echo(f"weightgate {weightgate.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors and the result only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more, with tracebacks.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text even on a terminal.")] = False,
    version: Annotated[  # noqa: ARG001 - typer calls it back
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Set what every command shares."""
    console.configure(quiet=quiet, verbose=verbose, json=json, color=not no_color)


def _register() -> None:
    from weightgate.audit.cli import (
        approve,
        blame,
        cache,
        demo,
        diff,
        gate,
        init,
        keygen,
        log,
        pack,
        probes,
        propose,
        prove,
        replay,
        report,
        rows,
        show,
        sign,
        timestamp,
        trace,
        trust,
        verify,
    )

    everyday = (gate, diff, verify, sign, approve, trust, timestamp, report)
    history = (
        init.register,
        propose.register,
        log.register,
        show.register,
        blame.register,
        propose.register_decisions,
        init.register_rules,
    )
    rest = (prove, pack, replay, rows, trace, probes, keygen, cache, demo)
    for add in (*(m.register for m in everyday), *history, *(m.register for m in rest)):
        add(app)


_register()


def hoist(arguments: list[str]) -> list[str]:
    """Move the global flags to the front, so that they may stand before or after the command."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [a for a in arguments[:end] if a in GLOBAL_FLAGS]
    return [*flags, *(a for a in arguments[:end] if a not in GLOBAL_FLAGS), *arguments[end:]]


def run() -> None:
    """Entry point: every error a user can cause is one message, a remedy and an exit code; a crash is never 0 or 1."""
    try:
        app(hoist(sys.argv[1:]))
    except WeightgateError as error:
        console.error(error)
        if console.SETTINGS.verbose:
            traceback.print_exc()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.warn("interrupted; nothing half-written counts as a result, --resume continues")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - the last resort: 1 would read as "block"
        traceback.print_exc()
        console.warn(f"internal error ({type(error).__name__}); please report it with the traceback above")
        sys.exit(2)
