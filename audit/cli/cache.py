"""weightgate cache: what scoring was paid for and kept; list it, check it, make room."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.policies.quantity import count

if TYPE_CHECKING:
    from weightgate.probes.engine.cache import Holding

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?I?)B?", re.IGNORECASE)
_DAYS = {"": 1, "d": 1, "w": 7}
_AGE = re.compile(r"(\d{1,6})\s*([dw]?)", re.IGNORECASE)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = typer.Typer(no_args_is_help=True, help="List, check and shrink the cache of scores.")
    commands.command("ls", epilog="Example: weightgate cache ls")(ls)
    commands.command("gc", epilog="Example: weightgate cache gc --older-than 30d --max-size 2GB")(gc)
    commands.command("verify", epilog="Example: weightgate cache verify")(verify)
    app.add_typer(commands, name="cache")


def ls() -> None:
    """List what is kept of each model: answers, bytes and the day of last use."""
    from weightgate.probes.engine.cache import ScoreCache

    cache = ScoreCache.default()
    held, stats = cache.holdings(), cache.stats()
    if console.SETTINGS.json:
        models = [{"model": h.model, "entries": h.entries, "bytes": h.bytes, "last_used": h.last_used} for h in held]
        console.emit({"folder": str(cache.folder), "entries": stats.entries, "bytes": stats.bytes, "models": models})
        return
    if not console.SETTINGS.quiet and held:
        console.out().print(_table(held))
    typer.echo(f"{count(stats.entries, 'answer')}, {size_text(stats.bytes)} in {console.printable(str(cache.folder))}")


def gc(
    *,
    older_than: Annotated[str, typer.Option(help="Delete what was not used for this long: 30d, 4w.")] = "",
    max_size: Annotated[str, typer.Option(help="Then delete what was unused longest, down to this: 500MB, 2GB.")] = "",
) -> None:
    """Delete answers that are old or do not fit. They are made again when they are needed."""
    from weightgate.probes.engine.cache import ScoreCache

    if not older_than and not max_size:
        raise InputError("nothing says what to delete", remedy="give --older-than 30d, --max-size 2GB, or both")
    days = parse_days(older_than) if older_than else None
    most = parse_size(max_size) if max_size else None
    cache = ScoreCache.default()
    gone = cache.gc(most, unused_days=days)
    left = cache.stats()
    if console.SETTINGS.json:
        console.emit({"deleted": gone, "entries": left.entries, "bytes": left.bytes})
    else:
        typer.echo(f"deleted {count(gone, 'answer')}; {left.entries} left, {size_text(left.bytes)}")


def verify() -> None:
    """Check every answer against its digest and delete the damaged ones. Exits 4 if there were any."""
    from weightgate.probes.engine.cache import ScoreCache

    cache = ScoreCache.default()
    checked = cache.stats().entries
    damaged = cache.verify()
    if damaged:
        raise IntegrityError(
            f"{damaged} of {checked} cached answers were damaged; they are deleted",
            remedy="they are made again when needed; check the disk, and who can write to the cache's folder",
        )
    if console.SETTINGS.json:
        console.emit({"checked": checked, "damaged": damaged})
    else:
        typer.echo(f"{count(checked, 'answer')}, all as written")


def parse_size(text: str) -> int:
    """Bytes of '500MB' (powers of ten) or '2GiB' (powers of two).

    Raises:
        InputError: it is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise InputError(f"{text[:40]!r} is not a size", remedy="write for example 500MB or 2GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def parse_days(text: str) -> int:
    """Days of '30d', '4w' or '30'.

    Raises:
        InputError: it is not a time.
    """
    found = _AGE.fullmatch(text.strip())
    if not found:
        raise InputError(f"{text[:40]!r} is not a time in days or weeks", remedy="write for example 30d or 4w")
    return int(found[1]) * _DAYS[found[2].lower()]


def size_text(size: int) -> str:
    """A size in words: 123.4 MB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _table(held: list[Holding]) -> object:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Model")
    table.add_column("Answers", justify="right")
    table.add_column("Size", justify="right")
    table.add_column("Last used")
    for holding in held:
        parts = [part[:12] for part in holding.model.split("+")] if holding.model else ["(not noted)"]
        table.add_row(" + ".join(parts), str(holding.entries), size_text(holding.bytes), holding.last_used)
    return table
