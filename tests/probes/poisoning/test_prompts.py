"""The suite of ordinary prompts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weightgate.probes.poisoning.prompts import ordinary, split


def test_suite_is_what_its_datasheet_says() -> None:
    """32 prompts on 32 subjects, one of them empty, all different."""
    rows = ordinary()
    assert len({row.id for row in rows}) == len({row.topic for row in rows}) == len({row.prompt for row in rows}) == 32
    assert sum(not row.prompt for row in rows) == 1


@given(st.integers(1, 16), st.integers(1, 16), st.integers(0, 2**31))
def test_search_and_confirmation_never_share_a_prompt(search: int, confirm: int, seed: int) -> None:
    """The confirmation sees only prompts that the search did not."""
    searched, fresh = split(search, confirm, seed)
    assert (len(searched), len(fresh)) == (search, confirm)
    assert not {row.id for row in searched} & {row.id for row in fresh}
    assert searched[0].prompt == ""
