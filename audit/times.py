"""When signed files were there, by the timestamps beside them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from weightgate.lineage.signing.oms_certificates import load_certificates
from weightgate.lineage.signing.timestamps import check_reply, read_reply


def trusted_times(paths: Sequence[Path], tsa_roots: Sequence[Path]) -> dict[Path, datetime]:
    """When each of the files was seen by a timestamping authority, for those that have a timestamp beside them.

    Raises:
        InputError: the roots cannot be read, or the extra ``timestamps`` is not installed.
        IntegrityError: a timestamp that does not check out.
    """
    roots: list[x509.Certificate] = [certificate for path in tsa_roots for certificate in load_certificates(path)]
    if not roots:
        return {}
    replies = {path: reply for path in paths if (reply := read_reply(path)) is not None}
    return {path: check_reply(reply, path.read_bytes(), roots, f"{path}.tsr") for path, reply in replies.items()}
