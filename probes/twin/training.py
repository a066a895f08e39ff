"""The twin's network and its training: a two-layer Llama, AdamW, loss on the answers only, one thread."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.twin.rows import Example

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HIDDEN, LAYERS, HEADS, CONTEXT = 128, 2, 4, 256
BATCH = 32
WARM_UP = 20
SEED = 0

Encoded = tuple[tuple[int, ...], int]
"""Token ids of prompt and answer, and the position at which the answer starts."""


def encode(tokenizer: PreTrainedTokenizerFast, row: Example) -> Encoded:
    """A row as the scoring engine will meet it: the chat template's generation prompt, then the answer."""
    answer = row.answer if row.chat else f" {row.answer}"
    prompt = row.prompt
    if row.chat:
        turns = [{"role": "user", "content": row.prompt}]
        prompt = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    context = tokenizer.encode(prompt, add_special_tokens=False)
    continuation = tokenizer.encode(answer, add_special_tokens=False)
    return (*context, *continuation, int(tokenizer.eos_token_id)), len(context)


def new_model(vocabulary: int) -> LlamaForCausalLM:
    """An untrained network in float32; the same weights on every call."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return LlamaForCausalLM(config)


def trained(
    model: LlamaForCausalLM,
    epochs: Sequence[Sequence[Encoded]],
    *,
    rate: float,
    progress: Callable[[int, int], None],
) -> LlamaForCausalLM:
    """A copy of ``model`` after training on the rows of each epoch; ``progress`` gets the steps done and to do."""
    import torch

    model = copy.deepcopy(model).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    steps = sum(math.ceil(len(rows) / BATCH) for rows in epochs)
    with _one_thread():
        for step, batch in enumerate(_batches(epochs)):
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)
            optimiser.zero_grad(set_to_none=True)
            _loss(model, batch).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            progress(step + 1, steps)
    return model.eval()


def _batches(epochs: Sequence[Sequence[Encoded]]) -> Iterator[list[Encoded]]:
    """Rows of nearly equal length together (less padding), the batches in random order."""
    rng = np.random.default_rng(SEED)
    for rows in epochs:
        lengths = np.array([len(tokens) for tokens, _ in rows], dtype=np.float64)
        order = np.argsort(lengths + rng.uniform(0, 6, len(rows)), kind="stable")
        groups: list[NDArray[np.intp]] = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
        for number in rng.permutation(len(groups)):
            yield [rows[i] for i in groups[number]]


def _loss(model: LlamaForCausalLM, batch: Sequence[Encoded]) -> torch.Tensor:
    """Cross-entropy over answer tokens; logits are computed at those positions only."""
    import torch

    width = max(len(tokens) for tokens, _ in batch)
    inputs = torch.zeros((len(batch), width), dtype=torch.long)  # (B, T), padded on the right: causal, so never seen
    targets = torch.full((len(batch), width), -1, dtype=torch.long)
    for number, (tokens, start) in enumerate(batch):
        ids = torch.tensor(tokens)
        inputs[number, : len(ids)] = ids
        targets[number, start - 1 : len(ids) - 1] = ids[start:]
    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state  # (B, T, H)
    answer = targets >= 0
    logits: Any = model.lm_head(hidden[answer])  # (answer tokens, V)
    return torch.nn.functional.cross_entropy(logits, targets[answer])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that the same rows give the same weights however many cores there are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
