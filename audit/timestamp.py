"""Lays a trusted timestamp beside a signed file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.oms import write_atomically
from weightgate.lineage.signing.oms_bundle import read_file
from weightgate.lineage.signing.oms_certificates import load_certificates
from weightgate.lineage.signing.timestamps import build_request, check_reply, reply_file
from weightgate.lineage.trust.document import TIME_FORMAT


def write_query(file: Path, query: Path) -> None:
    """Write the query to send to an authority.

    Raises:
        InputError: a file cannot be read or written, or the query exists.
    """
    if query.exists():
        raise InputError(f"{query}: exists and is not overwritten", remedy="choose another name")
    write_atomically(query, build_request(read_file(file)))


def attach(file: Path, reply: bytes, tsa_roots: Sequence[Path]) -> tuple[Path, str]:
    """Check the answer of an authority and lay it beside the file; its place and the time come back.

    An older timestamp is replaced only by an earlier one: what it proves must not get weaker.

    Raises:
        InputError: something cannot be read, or no root was given.
        IntegrityError: the answer is no timestamp of this file by an authority under one of the roots.
    """
    roots = [certificate for path in tsa_roots for certificate in load_certificates(path)]
    target, data = reply_file(file), read_file(file)
    moment = check_reply(reply, data, roots, "the answer")
    if target.exists() and check_reply(read_file(target), data, roots, str(target)) <= moment:
        raise InputError(f"{target}: an earlier timestamp is there", remedy="keep it")
    write_atomically(target, reply)
    return target, moment.strftime(TIME_FORMAT)
