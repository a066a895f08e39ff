"""Merkle trees against the vectors of certificate transparency and against the definition."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.weights.merkle import inclusion_proof, root, verify_inclusion

# Entries and roots of the certificate-transparency test suite (transparency-dev/merkle, testonly/constants.go).
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
PROOF_OF_FIRST_OF_EIGHT = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)


def defined_root(entries: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return hashlib.sha256(b"\x01" + defined_root(entries[:split]) + defined_root(entries[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    """Trees of zero to eight entries have the published roots."""
    assert root(ENTRIES[:size]).hex() == ROOTS[size]


def test_a_proof_is_that_of_certificate_transparency() -> None:
    """The published audit path of the first of eight entries."""
    assert tuple(node.hex() for node in inclusion_proof(ENTRIES, 0)) == PROOF_OF_FIRST_OF_EIGHT


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_roots_follow_the_definition(entries: list[bytes]) -> None:
    """The one-pass root equals the recursive definition."""
    assert root(entries) == defined_root(entries)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40), st.data())
def test_a_proof_holds_for_its_entry_alone(entries: list[bytes], data: st.DataObject) -> None:
    """A proof verifies at its index and fails for another entry, index, root, or a path longer or shorter."""
    index = data.draw(st.integers(0, len(entries) - 1))
    tree, proof, size = root(entries), inclusion_proof(entries, index), len(entries)
    assert verify_inclusion(tree, entries[index], index, size, proof)
    assert not verify_inclusion(tree, entries[index] + b"x", index, size, proof)
    assert not verify_inclusion(bytes(32), entries[index], index, size, proof)
    assert not verify_inclusion(tree, entries[index], index, size, (*proof, bytes(32)))
    assert not verify_inclusion(tree, entries[index], size, size, proof)
    if proof:
        assert not verify_inclusion(tree, entries[index], index, size, proof[:-1])
    for other in range(size):
        if entries[other] != entries[index]:
            assert not verify_inclusion(tree, entries[index], other, size, proof)


def test_there_is_no_proof_for_an_entry_that_is_not_there() -> None:
    """An index outside the list is an error, not a proof of something else."""
    with pytest.raises(IndexError):
        inclusion_proof(ENTRIES, -1)
