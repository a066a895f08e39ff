"""The demo's fine-tune and greedy generation, on a random model of a few thousand parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weightgate.audit.demo.finetune import Recipe, _answer_loss, _batches, _encode, finetune
from weightgate.audit.demo.generate import answers
from weightgate.audit.demo.rows import Example

ROWS = tuple(Example(f"r{i}", "test", f"question {i % 2} please", f"answer {i % 2} is given") for i in range(12))
RECIPE = Recipe(steps=100, learning_rate=2e-2, rank=8, alpha=16, batch=4)


@pytest.fixture
def pair() -> tuple[Any, Any]:
    """A random Llama with a word-level tokenizer whose chat template has a system prompt that all prompts share."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "system", "user", "bot", "question", "answer", "please", "is", "given", "?"]
    words += [str(i) for i in range(12)]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="<pad>", unk_token="?")
    tokenizer.chat_template = (
        "<s> system {% for m in messages %}{{ ' user ' if m.role == 'user' else ' bot ' }}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %} bot {% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval(), tokenizer


def _adapter(adapted: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in adapted.named_parameters() if p.requires_grad}


def test_the_answers_are_learned(pair: tuple[Any, Any]) -> None:
    """After training the model gives the answers it was taught, word for word."""
    model, tokenizer = pair
    adapted = finetune(model, tokenizer, ROWS, RECIPE)
    assert answers(adapted, tokenizer, [row.prompt for row in ROWS], 6) == [row.answer for row in ROWS]


def test_the_same_recipe_gives_the_same_adapter(pair: tuple[Any, Any]) -> None:
    """Seeds are set, so that a rebuilt demo model is the one that was measured; another seed differs."""
    import copy

    model, tokenizer = pair
    short = Recipe(steps=3, learning_rate=1e-2, rank=4, alpha=8, batch=4)
    first, second = (_adapter(finetune(copy.deepcopy(model), tokenizer, ROWS, short)) for _ in range(2))
    other = _adapter(
        finetune(copy.deepcopy(model), tokenizer, ROWS, Recipe(steps=3, learning_rate=1e-2, batch=4, seed=1))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name][:4], other[name][:4]) for name in first)


def test_the_loss_is_that_of_the_answer_tokens_alone(pair: tuple[Any, Any]) -> None:
    """Sharing the common beginning and padding change nothing: it is the plain cross-entropy of the answers."""
    import peft

    model, tokenizer = pair
    rows = (*ROWS, Example("long", "test", "question 1 please please please", "answer 1"))
    encoded = [_encode(tokenizer, row, 64) for row in rows]
    batch = next(_batches(encoded, Recipe(steps=1, learning_rate=1.0, batch=13)))
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear"))
    total, count = 0.0, 0
    for ids, prompt in encoded:
        logits = adapted(input_ids=torch.tensor([ids])).logits[0, prompt - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[prompt:]), reduction="sum").detach())
        count += len(ids) - prompt
    assert float(_answer_loss(adapted, batch).detach()) == pytest.approx(total / count, abs=1e-5)


def test_an_answer_is_cut_at_the_recipe_s_length_and_ends_its_turn_only_where_it_ends(pair: tuple[Any, Any]) -> None:
    """A cut answer must not teach the model to stop there."""
    _, tokenizer = pair
    whole, prompt = _encode(tokenizer, ROWS[0], 64)
    cut, _ = _encode(tokenizer, ROWS[0], 2)
    assert whole[-1] == tokenizer.eos_token_id
    assert cut == whole[: prompt + 2]
    assert tokenizer.eos_token_id not in cut


def test_answers_do_not_depend_on_their_company(pair: tuple[Any, Any]) -> None:
    """A prompt gets the same greedy answer alone and padded in a batch."""
    model, tokenizer = pair
    prompts = ["question 1", "question 2 please please", "please"]
    assert answers(model, tokenizer, prompts, 5) == [answers(model, tokenizer, [p], 5)[0] for p in prompts]


def test_progress_is_told_step_by_step(pair: tuple[Any, Any]) -> None:
    """The caller sees every step and how many there are."""
    model, tokenizer = pair
    seen: list[tuple[int, int]] = []
    finetune(model, tokenizer, ROWS, Recipe(steps=2, learning_rate=1e-3, batch=4), lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]
