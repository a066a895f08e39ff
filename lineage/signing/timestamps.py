"""Trusted time: RFC 3161 timestamps of signed files, from any timestamping authority, checked without a network.

What is stamped is the file of the signature, as ``openssl ts`` does it, so the signature existed at that time. The
reply lies beside the file under its name with ``.tsr`` added.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from weightgate.lineage.errors import InputError, IntegrityError, MissingExtraError

SUFFIX = ".tsr"
MAX_REPLY = 1_000_000
_AGAIN = "have the file stamped again with weightgate timestamp"


def reply_file(stamped: Path) -> Path:
    """Where the timestamp of a file lies."""
    return stamped.with_name(stamped.name + SUFFIX)


def build_request(data: bytes) -> bytes:
    """A timestamp query over the SHA-256 of ``data``, with a nonce, asking for the authority's certificate.

    Raises:
        InputError: the extra ``timestamps`` is not installed, or there is nothing to stamp.
    """
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError as error:
        raise MissingExtraError("making a timestamp query", "timestamps") from error
    if not data:
        raise InputError("an empty file cannot be stamped", remedy="give a signed file")
    return TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()


def fetch_reply(url: str, query: bytes, timeout: float = 30) -> bytes:
    """Ask an authority over HTTP (RFC 3161 §3.4).

    Raises:
        InputError: another protocol, or no answer; the answer itself is not checked.
    """
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url}: not an HTTP address", remedy="give the address of a timestamping authority")
    request = urllib.request.Request(url, query, {"Content-Type": "application/timestamp-query"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 -- http and https only, see above
            reply: bytes = answer.read(MAX_REPLY + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise InputError(f"{url}: no answer: {error}", remedy="check the address, or make the query offline") from error
    return reply


def check_reply(reply: bytes, data: bytes, roots: Sequence[x509.Certificate], what: str) -> datetime:
    """The time at which an authority under one of ``roots`` saw ``data``. Its certificates have to be valid then.

    Raises:
        InputError: the extra ``timestamps`` is not installed, or no root was given.
        IntegrityError: no timestamp of this data by such an authority; the message starts with ``what``.
    """
    try:
        from rfc3161_client import VerifierBuilder, decode_timestamp_response
        from rfc3161_client.errors import VerificationError
    except ImportError as error:
        raise MissingExtraError("checking a timestamp", "timestamps") from error
    if not roots:
        raise InputError("no root of a timestamping authority to believe", remedy="give --tsa-root FILE")
    if len(reply) > MAX_REPLY:
        raise IntegrityError(f"{what}: over {MAX_REPLY} bytes, no timestamp", remedy=_AGAIN)
    try:
        answer = decode_timestamp_response(reply)
        VerifierBuilder(roots=list(roots)).build().verify_message(answer, data)
        moment: datetime = answer.tst_info.gen_time
    except (VerificationError, ValueError) as error:
        raise IntegrityError(
            f"{what}: no timestamp of this file that can be believed: {error}", remedy=_AGAIN
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_reply(stamped: Path) -> bytes | None:
    """The timestamp beside a file, unchecked; None where there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = reply_file(stamped)
    try:
        with path.open("rb") as file:
            return file.read(MAX_REPLY + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check its permissions") from error
