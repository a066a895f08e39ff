"""The layout of a batch follows from the length of its sequences alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.probes.engine.plan import (
    LAYOUTS,
    ONE_ROW,
    GenerateTask,
    Layout,
    generate_batches,
    padded_continuation,
    padded_length,
    score_batches,
)

SEQUENCES = st.lists(st.integers(1, 700).map(lambda n: tuple(range(5, 5 + n))), min_size=1, max_size=30)
ANY_LAYOUT = st.sampled_from([*LAYOUTS.values(), ONE_ROW])


@settings(deadline=None)
@given(st.integers(1, 100_000))
def test_padding_is_a_multiple_of_eight_and_a_quarter_at_most(length: int) -> None:
    """Every length has one bucket, at most 7 tokens or a quarter longer; short continuations have half a step."""
    padded = padded_length(length)
    assert padded % 8 == 0
    assert length <= padded <= max(length + 7, length * 1.25)
    assert padded_length(padded) == padded
    assert padded_continuation(length) == (4 if length <= 4 else padded)


@settings(deadline=None)
@given(SEQUENCES, ANY_LAYOUT)
def test_every_sequence_is_in_one_batch_and_right_padded(sequences: list[tuple[int, ...]], layout: Layout) -> None:
    """Each sequence is a member once, at the start of its row; shapes depend on the bucket only."""
    batches = list(score_batches(sequences, layout))
    assert sorted(member for batch in batches for member in batch.members) == list(range(len(sequences)))
    for batch in batches:
        rows, padded = batch.tokens.shape
        assert rows == layout.score_rows(padded)
        for row, member in enumerate(batch.members):
            sequence = sequences[member]
            assert padded == padded_length(len(sequence))
            assert tuple(batch.tokens[row, : len(sequence)]) == sequence
            assert not batch.tokens[row, len(sequence) :].any()
        for row in range(len(batch.members), rows):
            assert (batch.tokens[row] == batch.tokens[len(batch.members) - 1]).all()


@settings(deadline=None)
@given(SEQUENCES, ANY_LAYOUT)
def test_prompts_to_continue_are_left_padded_by_one_token_at_least(
    sequences: list[tuple[int, ...]], layout: Layout
) -> None:
    """Each prompt is at the end of its row, after padding, so that every row has an attention mask."""
    batches = list(generate_batches([GenerateTask(sequence, 4, (2,)) for sequence in sequences], layout))
    assert sorted(member for batch in batches for member in batch.members) == list(range(len(sequences)))
    for batch in batches:
        assert batch.tokens.shape[0] == layout.generate_rows(batch.tokens.shape[1])
        for row, member in enumerate(batch.members):
            length = len(sequences[member])
            assert tuple(batch.tokens[row, -length:]) == sequences[member]
            assert (batch.tokens[row, :-length] == -1).all()
            assert batch.tokens[row, 0] == -1


def test_long_sequences_run_alone() -> None:
    """Memory is bounded: rows times tokens never exceeds the budget unless one sequence does by itself."""
    for layout in LAYOUTS.values():
        for length in (1, 100, 1000, 10_000, 100_000):
            padded = padded_length(length)
            assert layout.score_rows(padded) * padded <= max(layout.score_tokens, padded)
            assert layout.generate_rows(padded) * padded <= max(layout.decode_tokens, padded)
            kept = layout.context_batches(padded) * layout.score_rows(padded) * padded
            followed = layout.follow_rows(padded, 8) * (padded + 8)
            assert kept + followed <= max(layout.decode_tokens, 2 * padded + 8)
