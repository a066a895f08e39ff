"""Generation is greedy, ends where it should, and takes no orders from the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update, open_update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Generate, Generated, NextToken, Prompt

PROMPTS = [Prompt.user("legs " * length) for length in (1, 2, 3, 9, 17, 30)]


def by_transformers(update: Update, prompt: tuple[int, ...], new: int) -> tuple[int, ...]:
    """The child's greedy continuation by ``model.generate``, one unpadded prompt, without its end token."""
    model = AutoModelForCausalLM.from_pretrained(update.child.path, dtype=torch.float32)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, eos_token_id=2, pad_token_id=2
    )
    tokens = tuple(out[0, len(prompt) :].tolist())
    return tokens[:-1] if tokens[-1] == 2 else tokens


def test_tokens_are_those_of_model_generate(engine: Engine, update: Update) -> None:
    """Batched generation of prompts of several lengths gives what transformers gives for each alone."""
    answers = engine.generate("child", [Generate(prompt, 12) for prompt in PROMPTS])
    expected = [by_transformers(update, engine.renderer.prompt_tokens(prompt), 12) for prompt in PROMPTS]
    assert [answer.tokens for answer in answers] == expected
    assert [answer.text for answer in answers] == [engine.decode(tokens) for tokens in expected]


@pytest.mark.parametrize("names", [(), ("input_ids",)], ids=["unknown", "something else"])
def test_a_cache_that_cannot_be_handed_back_is_not_relied_on(
    names: tuple[str, ...], engine: Engine, update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that renames the argument makes generation slower, never wrong."""
    monkeypatch.setattr("weightgate.probes.engine.stream._NAMES", names)
    answers = engine.generate("child", [Generate(prompt, 8) for prompt in PROMPTS])
    assert [a.tokens for a in answers] == [
        by_transformers(update, engine.renderer.prompt_tokens(prompt), 8) for prompt in PROMPTS
    ]


def test_each_row_ends_at_its_own_limit(engine: Engine) -> None:
    """Requests of one batch with different limits get a shorter or longer piece of the same continuation."""
    answers = engine.generate("parent", [Generate(PROMPTS[0], limit) for limit in (1, 5, 9)])
    assert [len(answer.tokens) for answer in answers] == [1, 5, 9]
    assert answers[2].tokens[:5] == answers[1].tokens
    assert answers[1].tokens[:1] == answers[0].tokens


def test_the_first_token_is_the_most_likely_one(engine: Engine) -> None:
    """Generation and the next-token distribution agree."""
    for prompt in PROMPTS:
        distribution = engine.next_token("parent", [NextToken(prompt)])[0]
        assert engine.generate("parent", [Generate(prompt, 1)])[0].tokens == (int(distribution.argmax()),)


def test_stop_strings_end_the_answer(engine: Engine, cache: ScoreCache, update: Update) -> None:
    """Generation stops with the token that completes a stop string, and the text ends before it, cached or not."""
    whole = engine.generate("parent", [Generate(PROMPTS[3], 20)])[0]
    stop = engine.decode(whole.tokens[6:8])
    request = Generate(PROMPTS[3], 20, stop=("never said", stop))
    for _ in range(2):
        answer = Engine.open(update, cache=cache).generate("parent", [request])[0]
        assert answer.text == whole.text[: whole.text.index(stop)]
        assert answer.tokens == whole.tokens[: len(answer.tokens)]
        assert len(answer.tokens) <= 8


def test_the_end_of_text_token_ends_the_answer(write_model: Callable[..., Path]) -> None:
    """An end token that the parent's configuration names ends generation and is no part of the answer."""
    parent, child = write_model("parent"), write_model("child", seed=1)
    free = Engine.open(open_update(parent, child), cache=None).generate("child", [Generate(PROMPTS[1], 12)])[0]
    end = free.tokens[4]
    config = json.loads((parent / "generation_config.json").read_text())
    (parent / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [2, end]}))
    answer = Engine.open(open_update(parent, child), cache=None).generate("child", [Generate(PROMPTS[1], 12)])[0]
    assert answer.tokens == free.tokens[: free.tokens.index(end)]


def test_the_childs_generation_config_gives_no_orders(write_model: Callable[..., Path], tmp_path: Path) -> None:
    """Suppressed tokens, sampling, and forced words in a child's generation_config.json change nothing."""
    parent, child = write_model("parent"), write_model("child", seed=1)

    def answers() -> list[Generated]:
        engine = Engine.open(open_update(parent, child), cache=None)
        return engine.generate("child", [Generate(prompt, 12) for prompt in PROMPTS])

    plain = answers()
    orders = {"suppress_tokens": list(plain[0].tokens), "do_sample": True, "min_new_tokens": 30, "eos_token_id": 9}
    (child / "generation_config.json").write_text(json.dumps(orders))
    assert answers() == plain


@pytest.mark.parametrize(
    ("request_", "message"),
    [(Generate(PROMPTS[0], 0), "0 new tokens"), (Generate(PROMPTS[0], 300), "context holds 256")],
)
def test_limits_that_make_no_sense_are_refused(engine: Engine, request_: Generate, message: str) -> None:
    """No tokens, or more than fit, are an input error."""
    with pytest.raises(InputError, match=message):
        engine.generate("parent", [request_])
