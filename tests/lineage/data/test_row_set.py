"""Proofs that a row is, or is not, in a data set: every true one holds, and no false one does."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.data.row_set import Leaf, RowSet, commitment, is_present, row_digest
from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.weights import merkle

DIGESTS = st.integers(0, 40).map(lambda n: hashlib.sha256(bytes([n])).digest())
SETS = st.sets(DIGESTS, min_size=1).map(RowSet.of)


@given(SETS, DIGESTS)
def test_every_true_statement_has_a_proof(rows: RowSet, digest: bytes) -> None:
    """Of presence where it is there, of absence where it is not."""
    assert is_present(rows.root, len(rows.digests), digest, rows.proof(digest)) is (digest in rows)


@given(SETS, DIGESTS, DIGESTS, st.integers(1, 60), st.data())
def test_no_other_statement_does(rows: RowSet, digest: bytes, other: bytes, size: int, data: st.DataObject) -> None:
    """Leaves left out, moved, altered, of another size or another row never prove the opposite."""
    leaves = data.draw(st.lists(st.sampled_from([*rows.proof(digest), *rows.proof(other)]), max_size=3))
    altered = [
        replace(
            leaf, index=leaf.index + data.draw(st.integers(-1, 1)), digest=data.draw(st.just(leaf.digest) | DIGESTS)
        )
        for leaf in leaves
    ]
    for size_ in (size, len(rows.digests)):
        for attempt in (tuple(leaves), tuple(altered)):
            assert is_present(rows.root, size_, digest, attempt) in (digest in rows, None)


def test_a_gap_between_leaves_that_are_no_neighbours_proves_nothing() -> None:
    """Otherwise any row between the two could be denied."""
    rows = RowSet.of(hashlib.sha256(bytes([n])).digest() for n in range(9))
    first, last = rows.proof(rows.digests[2])[0], rows.proof(rows.digests[4])[0]
    assert is_present(rows.root, 9, rows.digests[3], (first, last)) is None
    inner = Leaf(3, rows.digests[3], merkle.inclusion_proof(rows.digests, 3))
    assert is_present(rows.root, 9, b"\xff" * 32, (inner,)) is None


def test_the_root_binds_the_size() -> None:
    """The same tree of another size is another set."""
    tree = merkle.root([b"x" * 32])
    assert commitment(1, tree) != commitment(2, tree) != tree


@given(SETS)
def test_an_index_reads_back(rows: RowSet) -> None:
    """Byte for byte; duplicates count once."""
    assert RowSet.from_bytes(rows.to_bytes()) == rows == RowSet.of([*rows.digests, *rows.digests])


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"b" * 32 + b"a" * 32, b"a" * 64])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    """Cut short, out of order, or with repetitions."""
    with pytest.raises(IntegrityError, match="not an index"):
        RowSet.from_bytes(data)


def test_a_row_is_what_it_says() -> None:
    """Roles, order and every character count; a text is not a message of the same words."""
    said = [
        row_digest((("user", "a"), ("assistant", "b")), ""),
        row_digest((("assistant", "b"), ("user", "a")), ""),
        row_digest((("user", "a"),), ""),
        row_digest((), "a"),
        row_digest((), "\u00e9"),
        row_digest((), "e\u0301"),
    ]
    assert len(set(said)) == len(said)
