"""Where a command writes: results on stdout, everything else on stderr, colour only on a terminal."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightgate.lineage.errors import WeightgateError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(slots=True)
class Settings:
    """The global flags of this invocation."""

    quiet: bool = False
    verbose: bool = False
    json: bool = False
    color: bool = True


SETTINGS = Settings()


def configure(*, quiet: bool, verbose: bool, json: bool, color: bool) -> None:
    """Take over the global flags."""
    SETTINGS.quiet, SETTINGS.verbose, SETTINGS.json, SETTINGS.color = quiet, verbose, json, color


def out() -> Console:
    """Console on stdout."""
    from rich.console import Console

    return Console(no_color=not SETTINGS.color, highlight=False)


def err() -> Console:
    """Console on stderr."""
    from rich.console import Console

    return Console(stderr=True, no_color=not SETTINGS.color, highlight=False)


def emit(document: Any) -> None:
    """Print the one JSON object of ``--json``."""
    sys.stdout.write(json_module.dumps(document, ensure_ascii=True, indent=2, sort_keys=True) + "\n")


def error(problem: WeightgateError) -> None:
    """Say what was wrong and what to do, on stderr; as an object on stdout with ``--json``."""
    if SETTINGS.json:
        emit({"error": str(problem), "remedy": problem.remedy, "exit_code": problem.exit_code})
        return
    from rich.text import Text

    line = Text.assemble(("error: ", "bold red"), printable(str(problem)))
    err().print(line, soft_wrap=True)
    if problem.remedy:
        err().print(Text.assemble(("  try: ", "bold"), printable(problem.remedy)), soft_wrap=True)


def warn(message: str) -> None:
    """One plain line on stderr."""
    from rich.text import Text

    err().print(Text(printable(message)), soft_wrap=True)


def printable(text: str) -> str:
    """Control characters shown as escapes: file names and library messages may carry terminal sequences."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
