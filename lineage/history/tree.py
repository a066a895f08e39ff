"""Proofs over a Merkle tree of which only hashes of complete subtrees are at hand (RFC 6962 §2.1, RFC 9162 §2.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from weightgate.lineage.weights.merkle import node_hash

Subtree = Callable[[int, int], bytes]
"""Hash of the complete subtree of ``2**height`` leaves that is the ``index``-th of its height."""


def fold(nodes: Sequence[bytes]) -> bytes:
    """Root over the hashes of equal complete subtrees; their number is a power of two."""
    level = list(nodes)
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def tree_hash(subtree: Subtree, begin: int, end: int) -> bytes:
    """Merkle tree hash of the leaves from ``begin`` to ``end``, a range that the recursion of RFC 6962 visits."""
    size = end - begin
    if size == 0:
        return hashlib.sha256().digest()
    if size & (size - 1) == 0:
        return subtree(size.bit_length() - 1, begin // size)
    middle = begin + _split(size)
    return node_hash(tree_hash(subtree, begin, middle), tree_hash(subtree, middle, end))


def inclusion(subtree: Subtree, index: int, size: int) -> tuple[bytes, ...]:
    """Sibling hashes from the leaf at ``index`` up to the root of the tree of ``size`` leaves.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise IndexError(f"entry {index} of {size}")
    path, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(tree_hash(subtree, middle, end))
            end = middle
        else:
            path.append(tree_hash(subtree, begin, middle))
            begin = middle
    return tuple(reversed(path))


def consistency(subtree: Subtree, old: int, new: int) -> tuple[bytes, ...]:
    """Hashes which show that the tree of ``old`` leaves is the beginning of that of ``new`` leaves (§2.1.2).

    Raises:
        IndexError: not ``0 <= old <= new``.
    """
    if not 0 <= old <= new:
        raise IndexError(f"tree of {old} leaves within one of {new}")
    if old in (0, new):
        return ()
    path, begin, end, whole = [], 0, new, True
    while old < end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(tree_hash(subtree, middle, end))
            end = middle
        else:
            path.append(tree_hash(subtree, begin, middle))
            begin, whole = middle, False
    if not whole:
        path.append(tree_hash(subtree, begin, end))
    return tuple(reversed(path))


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the new tree only adds to the old one (RFC 9162 §2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == hashlib.sha256().digest()
    if not 0 < old < new or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    was = now = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            was, now = node_hash(node, was), node_hash(node, now)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            now = node_hash(now, node)
        first, last = first >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1
