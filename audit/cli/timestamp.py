"""weightgate timestamp: proof of when a signed file was there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: weightgate timestamp RUN/verdict.json --query verdict.tsq, then, with the answer: "
        "weightgate timestamp RUN/verdict.json --tsa-reply verdict.tsr --tsa-root tsa.pem"
    )(timestamp)


def timestamp(
    file: Annotated[Path, typer.Argument(help="Signed file: verdict, changeset or approval.", metavar="FILE")],
    *,
    query: Annotated[Path | None, typer.Option(help="Write the query here, to be sent to an authority.")] = None,
    tsa_reply: Annotated[Path | None, typer.Option(help="Answer of an authority, to lay beside FILE.")] = None,
    tsa_url: Annotated[str | None, typer.Option(help="Ask this authority now, over the network.")] = None,
    tsa_root: Annotated[list[Path] | None, typer.Option(help="PEM of the roots to believe.")] = None,
) -> None:
    """Get an RFC 3161 timestamp of FILE, check it, and lay it beside FILE as FILE.tsr.

    Exits 0 when that is done, 2 on bad input, 4 where the timestamp does not check out; then nothing is written.
    """
    from weightgate.audit.timestamp import attach, write_query
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.timestamps import build_request, fetch_reply

    if sum(given is not None for given in (query, tsa_reply, tsa_url)) != 1:
        raise InputError("one step at a time", remedy="give one of --query, --tsa-reply and --tsa-url")
    if query is not None:
        write_query(file, query)
        _say({"query": str(query)}, f"{query}: send it to a timestamping authority")
        return
    reply = _read(tsa_reply) if tsa_reply else fetch_reply(tsa_url or "", build_request(_read(file)))
    path, moment = attach(file, reply, tsa_root or ())
    _say({"timestamp": str(path), "time": moment}, f"{path}: {file.name} was there at {moment}")


def _read(path: Path) -> bytes:
    from weightgate.lineage.signing.oms_bundle import read_file

    return read_file(path)


def _say(document: dict[str, str], line: str) -> None:
    if console.SETTINGS.json:
        console.emit(document)
    else:
        typer.echo(console.printable(line))
