"""Greedy answers of a model, straight from transformers: the demo's truth does not rest on the scoring engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def answers(model: Any, tokenizer: Any, prompts: Sequence[str], new_tokens: int = 40, batch: int = 32) -> list[str]:
    """Greedy answers to single user turns, in the order of ``prompts``, without the end-of-turn token."""
    import torch

    ids = [
        tokenizer.apply_chat_template([{"role": "user", "content": p}], add_generation_prompt=True, return_dict=False)
        for p in prompts
    ]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    texts = [""] * len(ids)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        longest = max(len(ids[i]) for i in chosen)
        padded = torch.tensor([[tokenizer.pad_token_id] * (longest - len(ids[i])) + ids[i] for i in chosen])
        mask = torch.tensor([[0] * (longest - len(ids[i])) + [1] * len(ids[i]) for i in chosen])
        with torch.inference_mode():
            out = model.generate(input_ids=padded, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False)
        for i, tokens in zip(chosen, out[:, longest:], strict=True):
            texts[i] = tokenizer.decode(tokens, skip_special_tokens=True)
    return texts
