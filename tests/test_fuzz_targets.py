"""Whatever bytes a parser is given, only the two errors that users see come out of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.fuzz_targets import TARGETS

ODD = (
    b"\0",
    b"\xff\xff\xff\xff",
    b"{",
    b"[",
    b'"',
    b"\n\n",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"null",
)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A valid document with some of its bytes changed, cut out, doubled, or replaced by what parsers stumble over."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        piece = draw(st.one_of(st.binary(max_size=8), st.sampled_from(ODD), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_only_known_errors_come_out(name: str) -> None:
    """Valid documents, mutations of them and any bytes at all; seeded, so that a failure comes again."""
    target = TARGETS[name]
    seeds = list(target.seeds())
    for seed in seeds:
        target.check(seed)

    @settings(max_examples=80, database=None, derandomize=True)
    @given(st.one_of(mutated(seeds), st.binary(max_size=200)))
    def run(data: bytes) -> None:
        target.check(data)

    run()
