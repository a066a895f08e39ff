"""The rows of a data set as a set: a sorted Merkle tree that proves of a row that it is there, or that it is not.

The leaves are digests of what the rows say, each once, in ascending order (RFC 6962 tree). A digest that is missing
would have to stand between two leaves that are neighbours: showing these two is a proof of absence. The root binds the
number of leaves, since positions mean nothing without it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.weights import merkle

SIZE = 32


@dataclass(frozen=True, slots=True)
class Leaf:
    """A digest of the set with its place and its path to the root."""

    index: int
    digest: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RowSet:
    """Distinct row digests in ascending order."""

    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> RowSet:
        """The set of these digests; rows that are there several times count once."""
        return cls(tuple(sorted(set(digests))))

    @classmethod
    def from_bytes(cls, data: bytes) -> RowSet:
        """Read what `to_bytes` wrote.

        Raises:
            IntegrityError: not a whole number of digests, none, or not in strictly ascending order.
        """
        digests = tuple(data[at : at + SIZE] for at in range(0, len(data), SIZE))
        ordered = all(a < b for a, b in pairwise(digests))
        if not digests or len(data) % SIZE or not ordered:
            raise IntegrityError("not an index of rows: digests in ascending order", remedy="make it from the data")
        return cls(digests)

    def to_bytes(self) -> bytes:
        """All digests, one after the other."""
        return b"".join(self.digests)

    @property
    def root(self) -> bytes:
        """What commits to the whole set."""
        return commitment(len(self.digests), merkle.root(self.digests))

    def __contains__(self, digest: bytes) -> bool:
        """Whether a row of this digest is in the set."""
        at = bisect_left(self.digests, digest)
        return at < len(self.digests) and self.digests[at] == digest

    def proof(self, digest: bytes) -> tuple[Leaf, ...]:
        """The digest's own leaf where it is in the set; otherwise its one or two neighbours."""
        at = bisect_left(self.digests, digest)
        wanted = [at] if digest in self else [i for i in (at - 1, at) if 0 <= i < len(self.digests)]
        return tuple(Leaf(i, self.digests[i], merkle.inclusion_proof(self.digests, i)) for i in wanted)


def row_digest(messages: Sequence[tuple[str, str]], text: str) -> bytes:
    """SHA-256 of what a row says, in canonical JSON: the list of its [role, content] pairs, or its plain text.

    The shape, the row's id and other members do not count: the question is whether these words were learned.
    """
    return hashlib.sha256(canonical([list(turn) for turn in messages] if messages else text)).digest()


def commitment(size: int, tree: bytes) -> bytes:
    """The root of a set of ``size`` rows whose sorted tree hashes to ``tree``."""
    return hashlib.sha256(b"\x02" + size.to_bytes(8, "big") + tree).digest()


def is_present(root: bytes, size: int, digest: bytes, leaves: tuple[Leaf, ...]) -> bool | None:
    """Whether ``digest`` is in the set under ``root``; None where ``leaves`` proves neither."""
    if not leaves or not 0 < size < 1 << 62:
        return None
    for leaf in leaves:
        tree = merkle.root_from_path(leaf.digest, leaf.index, size, leaf.path)
        if tree is None or commitment(size, tree) != root:
            return None
    first, last = leaves[0], leaves[-1]
    if len(leaves) == 1 and first.digest == digest:
        return True
    if len(leaves) == 1:
        before = first.index == size - 1 and first.digest < digest
        after = first.index == 0 and digest < first.digest
        return False if before or after else None
    adjacent = len(leaves) == 2 and last.index == first.index + 1
    return False if adjacent and first.digest < digest < last.digest else None
