"""lm-eval's tasks get from the engine what they get from lm-eval's own model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update, open_update
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.lm_eval_model import lm_eval_model

WORDS = ("The", "capital", "of", "France", "is", "Paris", "and", "that", "Italy", "how", "many", "legs", "a", "spider")


def words(seed: int, most: int = 30) -> str:
    """A few random words."""
    random = np.random.default_rng(seed)
    return " ".join(random.choice(WORDS, size=int(random.integers(1, most))))


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    """Requests as lm-eval's tasks make them."""
    return [Instance(kind, {}, args, index) for index, args in enumerate(arguments)]


@pytest.fixture
def both(update: Update) -> tuple[Any, Any]:
    """The engine's model and lm-eval's own, both of the child in float32."""
    reference = HFLM(pretrained=str(update.child.path), dtype="float32", device="cpu", batch_size=4)
    return lm_eval_model(Engine.open(update, cache=None), "child"), reference


def test_loglikelihoods_are_those_of_hflm(both: tuple[Any, Any]) -> None:
    """30 pairs, among them spaces at the context's end, empty contexts and contexts that are too long."""
    pairs = [(words(seed), f" {words(100 + seed, 6)}") for seed in range(24)]
    pairs += [("The capital ", "is Paris"), ("The  ", " x"), ("", "Paris"), ("", "<|text|>Paris"), ("capit", "al of")]
    pairs += [(words(7, 30) * 40, " Paris")]
    assert len(pairs) == 30
    ours, theirs = (model.loglikelihood(instances("loglikelihood", pairs)) for model in both)
    np.testing.assert_allclose([total for total, _ in ours], [total for total, _ in theirs], atol=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_greedy_continuations_are_recognised(both: tuple[Any, Any]) -> None:
    """A continuation that is the model's own answer counts as greedy with both."""
    model, reference = both
    text = model.generate_until(instances("generate_until", [("The capital", {"max_gen_toks": 3})]))[0]
    pair = instances("loglikelihood", [("The capital", text)])
    assert model.loglikelihood(pair)[0][1] == reference.loglikelihood(pair)[0][1]


def test_rolling_loglikelihoods_are_those_of_hflm(both: tuple[Any, Any]) -> None:
    """Documents shorter and several times longer than the context are cut into the same windows."""
    documents = [("Paris",), (words(3),), (" ".join(words(seed) for seed in range(60)),)]
    ours, theirs = (model.loglikelihood_rolling(instances("loglikelihood_rolling", documents)) for model in both)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_generations_are_those_of_hflm(both: tuple[Any, Any]) -> None:
    """Answers end at the same stop strings and limits."""
    asked = [(words(seed), {"until": ["\n", "a"], "max_gen_toks": 12, "do_sample": False}) for seed in range(6)]
    asked += [(words(seed), {"until": "zz", "max_gen_toks": 5 + seed}) for seed in range(3)]
    ours, theirs = (model.generate_until(instances("generate_until", asked)) for model in both)
    assert ours == theirs


def test_sampling_is_refused(both: tuple[Any, Any]) -> None:
    """A task that samples cannot be compared."""
    with pytest.raises(InputError, match="samples"):
        both[0].generate_until(instances("generate_until", [("Paris", {"do_sample": True, "temperature": 1.0})]))


def test_chat_templates_are_the_parents(both: tuple[Any, Any]) -> None:
    """Turns are rendered as lm-eval renders them."""
    turns = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "It"}]
    for open_answer, history in ((True, turns[:1]), (False, turns)):
        ours, theirs = (model.apply_chat_template(history, open_answer) for model in both)
        assert ours == theirs


def test_a_model_of_one_context_length_less_is_cut_the_same_way(
    write_model: Callable[..., Path], llama: Callable[..., Any]
) -> None:
    """The beginning of a context is dropped, one token more than the model takes being scored."""
    folder = write_model(config=llama(max_position_embeddings=32))
    model = lm_eval_model(Engine.open(open_update(folder, folder), cache=None), "parent")
    reference = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1)
    pairs = instances("loglikelihood", [(words(5, 30) * 9, " Paris is"), (words(6, 30) * 9, " of")])
    np.testing.assert_allclose(
        [total for total, _ in model.loglikelihood(pairs)],
        [total for total, _ in reference.loglikelihood(pairs)],
        atol=1e-4,
    )
