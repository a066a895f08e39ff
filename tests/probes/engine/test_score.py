"""Scores are those of the model, whatever else is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import NextToken, Prompt, Score

QUESTION = Prompt.user("How many legs has a spider?")


def reference(update: Update, side: str, tokens: tuple[int, ...]) -> torch.Tensor:
    """(len(tokens), V) log-probabilities of what follows each token, by transformers alone, in float32."""
    folder = update.parent.path if side == "parent" else update.child.path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([tokens])).logits[0], dim=-1)


@pytest.mark.parametrize("side", ["parent", "child"])
def test_logprobs_are_those_of_a_plain_forward_pass(engine: Engine, update: Update, side: str) -> None:
    """The log-probability of every continuation token is that of one unpadded forward pass of that side."""
    answer = engine.score(side, [Score(QUESTION, "It has eight legs.")])[0]
    prompt = engine.renderer.prompt_tokens(QUESTION)
    expected = reference(update, side, prompt + answer.tokens)[len(prompt) - 1 : -1]
    assert engine.decode(answer.tokens) == "It has eight legs."
    np.testing.assert_allclose(
        answer.logprobs, expected.gather(1, torch.tensor(answer.tokens)[:, None])[:, 0], atol=1e-4
    )
    np.testing.assert_array_equal(answer.greedy, expected.argmax(-1).numpy() == np.array(answer.tokens))
    assert answer.total == pytest.approx(float(answer.logprobs.sum()), abs=1e-4)


def test_top_and_gather_read_the_same_distribution(engine: Engine, update: Update) -> None:
    """`top` gives the most likely tokens in order; `gather` gives the ids asked for, NaN where fewer were."""
    continuation = engine.encode("eight legs")
    gather = tuple((token, 5, 6) if index else (token,) for index, token in enumerate(continuation))
    answer = engine.score("parent", [Score(QUESTION, continuation, top=4, gather=gather)])[0]
    prompt = engine.renderer.prompt_tokens(QUESTION)
    expected = reference(update, "parent", prompt + continuation)[len(prompt) - 1 : -1]
    np.testing.assert_array_equal(answer.top_ids, expected.topk(4).indices)
    np.testing.assert_allclose(answer.top_logprobs, expected.topk(4).values, atol=1e-4)
    np.testing.assert_array_equal(answer.gathered[:, 0], answer.logprobs)
    assert np.isnan(answer.gathered[0, 1:]).all()
    np.testing.assert_allclose(answer.gathered[1:, 1:], expected[1:, 5:7], atol=1e-4)


def test_next_token_is_the_whole_distribution(engine: Engine, update: Update) -> None:
    """The answer has one log-probability for every output of the model and sums to one."""
    answer = engine.next_token("child", [NextToken(QUESTION)])[0]
    expected = reference(update, "child", engine.renderer.prompt_tokens(QUESTION))[-1]
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert np.exp(answer.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)


def test_options_that_differ_in_the_last_token_share_a_forward_pass(engine: Engine) -> None:
    """Sixteen one-token options cost no more tokens than one."""
    engine.score("parent", [Score(QUESTION, (token,)) for token in range(10, 26)])
    assert engine.usage.scored_tokens == len(engine.renderer.prompt_tokens(QUESTION))
    assert engine.usage.requests == 16


def test_context_in_token_ids_is_taken_as_it_is(engine: Engine) -> None:
    """A request by token ids gets the answer of the prompt that has these tokens."""
    by_text, by_ids = engine.score(
        "parent",
        [
            Score(QUESTION, "It has eight legs."),
            Score(context=engine.renderer.prompt_tokens(QUESTION), continuation=engine.encode("It has eight legs.")),
        ],
    )
    np.testing.assert_array_equal(by_text.logprobs, by_ids.logprobs)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Score(QUESTION, ""), "no tokens"),
        (Score(QUESTION, "legs " * 400), "context holds 256"),
        (Score(QUESTION, (5, 6), gather=((1,),)), "gathers at 1 positions"),
        (Score(QUESTION, (5,), context=(1, 2)), "a prompt and a context"),
        (Score(QUESTION, (384,)), "vocabulary ends at 384"),
        (Score(QUESTION, (-1,)), "vocabulary ends at 384"),
        (Score(QUESTION, (5,), top=-1), "top -1"),
    ],
)
def test_requests_that_make_no_sense_are_refused(engine: Engine, request_: Score, message: str) -> None:
    """A request that cannot be answered is an input error that says why, not a crash in the model."""
    with pytest.raises(InputError, match=message):
        engine.score("parent", [request_])
