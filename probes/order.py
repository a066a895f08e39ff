"""The order in which items are used: secret until the verdict, so that nobody trains for it, and replayable after."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from weightgate.probes.statistics.effect import StatisticsError

_STEP = b"\x00"


def item_order(key: bytes, update: str, ids: Sequence[str]) -> tuple[int, ...]:
    """Positions of ``ids`` sorted by HMAC-SHA256(key, digest of the update || item id).

    Whoever knows the key can repeat it. Another child is another update and has another order; the same update has the
    same order however often it is audited, so that trying again is no second chance.

    Raises:
        StatisticsError: an empty key, no items, or an id that is given twice.
    """
    if not key or not ids:
        raise StatisticsError("an order needs a key and items")
    if len(set(ids)) < len(ids):
        raise StatisticsError("an id is given twice: the items cannot be put in order", remedy="make ids unique")
    marks = [hmac.digest(key, update.encode() + _STEP + name.encode(), "sha256") for name in ids]
    return tuple(sorted(range(len(ids)), key=marks.__getitem__))


def commitment(ids: Sequence[str]) -> str:
    """SHA-256 of the ids in their order, each with its length before it."""
    digest = hashlib.sha256()
    for name in ids:
        data = name.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
