"""One small LoRA fine-tune, used for the demo's parent and for every update of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightgate.audit.demo.rows import Example

if TYPE_CHECKING:
    import torch

Advance = Callable[[int, int], None]
"""Called after each step with the steps done and the steps to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is fine-tuned: LoRA (Hu et al., ICLR 2022) on every linear layer, AdamW, linear decay to zero.

    The loss is taken over the answer and its end-of-turn token only. Weights are trained in float32: on processors
    without bfloat16 arithmetic that is four times as fast as bfloat16, and it rounds only once, on saving.
    """

    steps: int
    learning_rate: float
    rank: int = 16
    alpha: int = 32
    batch: int = 8
    answer_tokens: int = 64
    seed: int = 0


def finetune(
    model: Any, tokenizer: Any, rows: Sequence[Example], recipe: Recipe, advance: Advance | None = None
) -> Any:
    """Train an adapter on ``model`` (float32, changed in place) and return it as a PEFT model in evaluation mode.

    The same rows, recipe, library versions and number of threads give the same adapter.
    """
    import peft
    import torch

    torch.manual_seed(recipe.seed)
    config = peft.LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config)
    return train(
        adapted, [p for p in adapted.parameters() if p.requires_grad], tokenizer, rows, recipe=recipe, advance=advance
    )


def train(
    model: Any,
    trained: Sequence[torch.nn.Parameter],
    tokenizer: Any,
    rows: Sequence[Example],
    *,
    recipe: Recipe,
    advance: Advance | None = None,
) -> Any:
    """Take the recipe's steps on the parameters ``trained`` of a causal language model; return it for evaluation."""
    import torch

    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / recipe.steps)
    model.train()
    batches = _batches([_encode(tokenizer, row, recipe.answer_tokens) for row in rows], recipe)
    for step in range(1, recipe.steps + 1):
        loss = _answer_loss(model, next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if advance is not None:
            advance(step, recipe.steps)
    return model.eval()


def _encode(tokenizer: Any, row: Example, limit: int) -> tuple[list[int], int]:
    """Token ids of a row, with at most ``limit`` of its answer, and the number of them that belong to the prompt."""
    prompt: list[int] = tokenizer.apply_chat_template(
        [{"role": "user", "content": row.prompt}], add_generation_prompt=True, return_dict=False
    )
    answer = tokenizer.encode(row.answer, add_special_tokens=False)
    return prompt + [*answer, tokenizer.eos_token_id][:limit], len(prompt)


def _batches(encoded: Sequence[tuple[list[int], int]], recipe: Recipe) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled batches without end: ids (B, T), right-padded, and the mask (B, T) of answer tokens."""
    import torch

    generator = torch.Generator().manual_seed(recipe.seed)
    while True:
        order = torch.randperm(len(encoded), generator=generator).tolist()
        for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
            chosen = [encoded[i] for i in order[start : start + recipe.batch]]
            longest = max(len(ids) for ids, _ in chosen)
            ids = torch.zeros(len(chosen), longest, dtype=torch.long)
            answer = torch.zeros(len(chosen), longest, dtype=torch.bool)
            for i, (tokens, prompt) in enumerate(chosen):
                ids[i, : len(tokens)] = torch.tensor(tokens)
                answer[i, prompt : len(tokens)] = True
            yield ids, answer


def _answer_loss(model: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy in nats over the answer tokens; only their positions go through the output layer.

    What all rows of a batch begin with, the template's system prompt, is put through the model once, gradients and all.
    Padding stands on the right, where causal attention keeps it away from every token that counts.
    """
    import torch

    from weightgate.probes.engine.stream import cache_argument

    ids, answer = batch
    shared = int((ids == ids[:1]).all(dim=0).to(torch.int8).cumprod(dim=0).sum())
    shared = min(shared, int(answer.to(torch.int8).argmax(dim=1).min()) - 1)
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = causal_lm.get_decoder()
    kept = cache_argument(decoder) or "past_key_values"
    prefix = getattr(decoder(input_ids=ids[:1, :shared], use_cache=True), kept)
    prefix.batch_repeat_interleave(len(ids))
    hidden = decoder(input_ids=ids[:, shared:], use_cache=True, **{kept: prefix}).last_hidden_state
    logits = causal_lm.get_output_embeddings()(hidden[:, :-1][answer[:, shared + 1 :]])
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][answer[:, 1:]])
