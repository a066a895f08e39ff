"""Continuations on the keys and values of their context are scored as in one pass over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
)

from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.lm_eval_model import lm_eval_model
from weightgate.probes.engine.plan import LAYOUTS, ScoreTask, padded_length
from weightgate.probes.engine.requests import Prompt, Score, Scored

SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 256,
}
HEADS = {**SIZES, "num_key_value_heads": 2}
GPT2 = GPT2Config(vocab_size=384, n_embd=64, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3)
CONTINUED = {
    "llama": None,
    "gemma2: soft caps, sliding window": Gemma2Config(**HEADS, head_dim=16, sliding_window=16),
    "mistral: sliding window": MistralConfig(**HEADS, sliding_window=16),
    "mixtral: experts": MixtralConfig(**HEADS, num_local_experts=4),
    "gpt2: learned positions": GPT2,
    "neox: parallel residual": GPTNeoXConfig(**SIZES),
}
WORDS = ("The", "capital", "of", "France", "is", "Paris", "and", "Italy", "how", "many", "legs", "a", "spider", "has")


def words(seed: int, low: int, high: int) -> str:
    """A few random words."""
    random = np.random.default_rng(seed)
    return " ".join(random.choice(WORDS, size=int(random.integers(low, high))))


def options(questions: int = 14) -> list[Score]:
    """Questions of many lengths with four options each, of one token and of several."""
    return [
        Score(Prompt(text=words(seed, 1, 30)), f" {words(100 * seed + option, 1, 3 + seed % 9)}", top=2)
        for seed in range(questions)
        for option in range(4)
    ]


def expected(model: Any, engine: Engine, request: Score) -> np.ndarray:
    """Log-probabilities of a text continuation by one unpadded forward pass of ``model``."""
    assert isinstance(request.continuation, str)
    context, continuation = engine.renderer.continuation(request.prompt, request.continuation)
    with torch.no_grad():
        logits = model(torch.tensor([context + continuation])).logits[0, len(context) - 1 : -1]
    return torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(continuation)[:, None])[:, 0].numpy()


def backend(engine: Engine) -> Backend:
    """The only model that is loaded."""
    return next(iter(engine._executor._runners["child"]._backends.values()))


def bits(answers: list[Scored]) -> list[tuple[bytes, ...]]:
    """Arrays as bytes."""
    return [(a.logprobs.tobytes(), a.top_ids.tobytes(), a.top_logprobs.tobytes()) for a in answers]


@pytest.mark.parametrize("architecture", CONTINUED)
def test_scores_are_those_of_one_pass(write_model: Callable[..., Path], architecture: str) -> None:
    """In float32 both ways agree within 1e-4 with an unpadded pass, and each request has the same bits alone."""
    folder = write_model(config=CONTINUED[architecture])
    engine = Engine.open(open_update(folder, folder), cache=None)
    requests = options()
    answers = engine.score("parent", requests)
    assert backend(engine).continues
    backend(engine).continues = False
    whole = engine.score("parent", requests)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for request, answer, other in zip(requests, answers, whole, strict=True):
        np.testing.assert_allclose(answer.logprobs, expected(model, engine, request), atol=1e-4)
        np.testing.assert_allclose(answer.logprobs, other.logprobs, atol=1e-4)
        np.testing.assert_allclose(answer.top_logprobs, other.top_logprobs, atol=1e-4)
    backend(engine).continues = True
    assert bits([engine.score("parent", [request])[0] for request in requests]) == bits(answers)
    assert bits(engine.score("parent", requests[::-3])) == bits(answers[::-3])


def test_an_adapters_scores_are_those_of_one_pass(write_model: Callable[..., Path], tmp_path: Path) -> None:
    """Keys and values are made with the adapter in place."""
    parent = write_model()
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(base, settings)
    tuned.save_pretrained(tmp_path / "adapter")
    engine = Engine.open(open_update(parent, tmp_path / "adapter"), cache=None)
    requests = options(6)
    for request, answer in zip(requests, engine.score("child", requests), strict=True):
        np.testing.assert_allclose(answer.logprobs, expected(tuned, engine, request), atol=1e-4)
    assert backend(engine).continues


def test_hflm_gives_the_same(write_model: Callable[..., Path]) -> None:
    """Four-option questions have lm-eval's own log-likelihoods and greedy flags."""
    folder = write_model()
    engine = Engine.open(open_update(folder, folder), cache=None)
    pairs = [Instance("loglikelihood", {}, (r.prompt.text, r.continuation), i) for i, r in enumerate(options())]
    ours = lm_eval_model(engine, "parent").loglikelihood(pairs)
    theirs = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4).loglikelihood(pairs)
    np.testing.assert_allclose([total for total, _ in ours], [total for total, _ in theirs], atol=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_a_question_costs_its_context_once(engine: Engine) -> None:
    """Options of several tokens share the context; equal beginnings of options are run once."""
    context = engine.encode("The capital of France is and that of Italy is Rome, how many legs has it?")
    answers = [(5, 6, 7), (5, 6, 8), (9, 10), (11,)]
    engine.score("parent", [Score(context=context, continuation=answer) for answer in answers])
    assert engine.usage.scored_tokens == len(context) + 2 + 1


def test_a_long_text_after_a_short_context_is_run_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rolling perplexity would be slower in two stages; the choice looks at the request alone."""
    engine.score("parent", [Score(context=(0, 5), continuation=(6,))])
    used: list[str] = []
    for name in ("begin", "hidden"):
        run = getattr(Backend, name)
        monkeypatch.setattr(Backend, name, lambda self, t, n=name, r=run: (used.append(n), r(self, t))[1])
    engine.score("parent", [Score(context=(0,), continuation=tuple(range(5, 105)))])
    assert used == ["hidden"]
    engine.score("parent", [Score(context=tuple(range(5, 105)), continuation=(6, 7))])
    assert used == ["hidden", "begin"]


def test_a_continuation_in_two_stages_is_padded_to_no_more_than_its_context() -> None:
    """What is run in two stages loses little if nothing shares its context; one-token answers always are."""
    for context in (1, 7, 8, 40, 300):
        for length in range(1, 400):
            if ScoreTask((5,) * context, (6,) * length, 0, ()).follows:
                assert padded_length(length) <= padded_length(context + 1)
            else:
                assert length > 1


def test_models_that_keep_no_keys_are_run_whole(write_model: Callable[..., Path]) -> None:
    """A model with a state of its own takes the single pass and gives its own scores."""
    settings = {
        name: value for name, value in SIZES.items() if name not in {"intermediate_size", "num_attention_heads"}
    }
    folder = write_model(config=MambaConfig(**settings, state_size=8))
    engine = Engine.open(open_update(folder, folder), cache=None)
    requests = options(4)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for request, answer in zip(requests, engine.score("parent", requests), strict=True):
        np.testing.assert_allclose(answer.logprobs, expected(model, engine, request), atol=2e-4)
    assert not backend(engine).continues


def test_a_model_that_fails_the_sample_is_run_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sample in two pieces gives other states than in one, the single pass is taken."""
    monkeypatch.setattr("weightgate.probes.engine.backend.left_padded", lambda _, padded: np.array([[7] * padded]))
    engine.score("parent", options(1))
    assert not backend(engine).continues


def test_the_layout_version_tells_old_answers_apart() -> None:
    """Answers of single passes are not taken for those of two stages."""
    assert all(str(layout).startswith("v3 ") for layout in LAYOUTS.values())
    assert len({str(layout) for layout in LAYOUTS.values()}) == 2
