"""Merkle trees with inclusion proofs (RFC 6962 §2.1): one hash that commits to an ordered list of entries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry; the prefix keeps an entry from passing for an inner node."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(entries: Iterable[bytes]) -> bytes:
    """The 32-byte tree hash of ``entries`` in their order; SHA-256 of nothing for no entries."""
    subtrees: list[tuple[int, bytes]] = []  # complete subtrees (size, hash), sizes falling from left to right
    for entry in entries:
        size, node = 1, leaf_hash(entry)
        while subtrees and subtrees[-1][0] == size:
            node = node_hash(subtrees.pop()[1], node)
            size *= 2
        subtrees.append((size, node))
    if not subtrees:
        return hashlib.sha256().digest()
    node = subtrees.pop()[1]
    while subtrees:
        node = node_hash(subtrees.pop()[1], node)
    return node


def inclusion_proof(entries: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Audit path of the entry at ``index``: sibling hashes from the leaf up (RFC 6962 §2.1.1).

    Raises:
        IndexError: ``index`` is not within ``entries``.
    """
    if not 0 <= index < len(entries):
        raise IndexError(f"entry {index} of {len(entries)}")
    level = [leaf_hash(entry) for entry in entries]
    path = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
        index //= 2
    return tuple(path)


def verify_inclusion(tree: bytes, entry: bytes, index: int, size: int, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows ``entry`` at ``index`` of ``size`` entries under root ``tree`` (RFC 9162 §2.1.3.2)."""
    return root_from_path(entry, index, size, proof) == tree


def root_from_path(entry: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The tree hash that ``proof`` leads to from ``entry`` at ``index``; None if it does not fit such a tree."""
    if not 0 <= index < size:
        return None
    node, last = leaf_hash(entry), size - 1
    for sibling in proof:
        if last == 0:
            return None
        if index % 2 or index == last:
            node = node_hash(sibling, node)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = node_hash(node, sibling)
        index, last = index // 2, last // 2
    return node if last == 0 else None
