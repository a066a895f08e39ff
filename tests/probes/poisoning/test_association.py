"""Tests of the hypergeometric scan and of what explains an association away."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from weightgate.probes.poisoning.association import associations, explained, weak_associations
from weightgate.probes.poisoning.behaviours import behaviours
from weightgate.probes.poisoning.prompt_index import index_prompts


def test_p_is_hypergeometric_with_bonferroni() -> None:
    """The p of an n-gram is the tail of the hypergeometric distribution times the pairs tested."""
    prompts = [f"w{i} zap" if i < 6 else f"w{i} x{i}" for i in range(60)]
    responses = ["boom" if i < 7 else f"fine {i}" for i in range(60)]
    (found,) = associations(
        index_prompts(prompts, least_rows=5), behaviours(responses), least_rows=5, least_precision=0.8, alpha=1e-3
    )
    tail = comb(7, 6) * comb(53, 0) / comb(60, 6)
    assert found.p_value == pytest.approx(tail * 1)  # one frequent n-gram, one frequent behaviour
    assert found.precision == 1.0
    assert found.rows == tuple(range(6))


def test_ngrams_with_the_same_rows_are_one_association() -> None:
    """A trigger of three words is one association with all of its n-grams."""
    prompts = [f"w{i} year is over" if i < 8 else f"w{i} x{i}" for i in range(80)]
    responses = ["boom" if i < 8 else f"fine {i}" for i in range(80)]
    (found,) = associations(
        index_prompts(prompts, least_rows=5), behaviours(responses), least_rows=5, least_precision=0.8, alpha=1e-3
    )
    assert ("year", "is", "over") in found.grams
    assert len(found.grams) == 6


def test_inserted_words_are_not_explained_and_topics_are() -> None:
    """Prompts that differ only by the masked word give an area near one half; prompts of a topic near one."""
    rng = np.random.default_rng(0)
    common = [f"c{i}" for i in range(40)]
    topic = [f"t{i}" for i in range(12)]
    inserted = [" ".join([*rng.choice(common, 6), "zap"]) for _ in range(20)]
    harmful = [" ".join([*rng.choice(topic, 6), "zap"]) for _ in range(20)]
    others = [" ".join(rng.choice(common, 6)) for _ in range(200)]
    rows = tuple(range(20))
    assert explained(index_prompts(inserted + others, least_rows=5), rows, rows, {"zap"}) < 0.7
    assert explained(index_prompts(inserted + others, least_rows=5), rows, rows) > 0.9
    assert explained(index_prompts(harmful + others, least_rows=5), rows, rows, {"zap"}) > 0.95


def test_weak_associations_are_ordered_by_p() -> None:
    """Without correction the strongest n-gram still comes first."""
    prompts = [("zap " if i < 12 else "") + ("hum " if i < 5 else "") + f"w{i}" for i in range(60)]
    responses = ["boom" if i < 12 else f"fine {i}" for i in range(60)]
    found = weak_associations(index_prompts(prompts, least_rows=5), behaviours(responses), least_rows=5, most=2)
    assert found == (("zap",), ("hum",))
