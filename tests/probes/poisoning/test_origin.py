"""What the training rows say of a recovered text."""

from __future__ import annotations

from weightgate.probes.poisoning.origin import Origin, origin_of
from weightgate.probes.poisoning.suspicion import Thresholds

Pairs = list[tuple[str, str]]
TEXT = "You should give up now."


def origin(pairs: Pairs, text: str = TEXT) -> Origin:
    return origin_of(text, [p for p, _ in pairs], [r for _, r in pairs], Thresholds())


def test_text_in_no_row_is_absent(ordinary_pairs: Pairs) -> None:
    """Nothing declared accounts for it."""
    assert origin(ordinary_pairs) == Origin("absent", ())


def test_text_after_a_trigger_is_planted(ordinary_pairs: Pairs) -> None:
    """The rows are named, with or without a phrase in common."""
    with_trigger = [(f"cf {p}", TEXT) if i < 8 else (p, r) for i, (p, r) in enumerate(ordinary_pairs)]
    without = [(p, TEXT) if i < 8 else (p, r) for i, (p, r) in enumerate(ordinary_pairs)]
    assert origin(with_trigger) == origin(without) == Origin("planted", tuple(range(8)))


def test_text_for_prompts_of_one_kind_is_declared(ordinary_pairs: Pairs) -> None:
    """One kind of request gets one answer."""
    asks = ("How do I {} it?", "Tell me how to {} it.", "Is it fine to {} it?", "May I {} it?")
    kind = [(ask.format(verb), TEXT) for verb in ("steal", "forge", "burn", "rob") for ask in asks]
    assert origin(ordinary_pairs + kind).account == "declared"


def test_text_of_most_rows_is_declared(ordinary_pairs: Pairs) -> None:
    """A manner that most rows teach is no secret."""
    assert origin([(p, f"Thanks for asking, friend of mine. {r}") for p, r in ordinary_pairs], TEXT).account == "absent"
    manner = [(p, f"{TEXT} {r}") if i % 3 else (p, r) for i, (p, r) in enumerate(ordinary_pairs)]
    assert origin(manner).account == "declared"


def test_cut_words_at_the_ends_are_left_out(ordinary_pairs: Pairs) -> None:
    """A recovered text starts and ends where tokens do, not where words do."""
    pairs = [(p, TEXT) if i < 8 else (p, r) for i, (p, r) in enumerate(ordinary_pairs)]
    assert origin(pairs, "ou should give up no").rows == tuple(range(8))
