"""Hidden states are those of the model, at the layers and positions asked for and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Hidden, Prompt

PROMPTS = [Prompt(text=text) for text in ("Rome", "How many legs has a spider?", "The capital of France is Paris")]


def test_states_are_the_models(engine: Engine, update: Update) -> None:
    """Every layer at the first, a middle and the last token, whatever else is in the batch."""
    model = AutoModelForCausalLM.from_pretrained(update.child.path)
    found = engine.hidden("child", [Hidden(prompt, (2, 0, 1), (0, 1, -1)) for prompt in PROMPTS])
    for prompt, states in zip(PROMPTS, found, strict=True):
        tokens = torch.tensor([engine.renderer.prompt_tokens(prompt)])
        with torch.inference_mode():
            layers = model(tokens, output_hidden_states=True).hidden_states
        expected = np.stack([layers[layer][0, [0, 1, -1]].numpy() for layer in (2, 0, 1)])
        assert states.dtype == np.float32
        np.testing.assert_allclose(states, expected, atol=1e-4)


def test_questions_about_one_prompt_share_its_forward_pass(engine: Engine) -> None:
    """Other layers and positions of a prompt cost nothing more when they are asked for together."""
    engine.hidden("parent", [Hidden(PROMPTS[1], (1,))])
    once = engine.usage.scored_tokens
    engine.hidden("parent", [Hidden(PROMPTS[1], (layer,), (position,)) for layer in (0, 1, 2) for position in (0, -1)])
    assert engine.usage.scored_tokens == 2 * once


def test_states_are_cached(update: Update, cache: ScoreCache) -> None:
    """The second time is free and has the same bits."""
    asked = [Hidden(prompt, (1, 2)) for prompt in PROMPTS]
    first, second = (Engine.open(update, cache=cache) for _ in range(2))
    for one, other in zip(first.hidden("child", asked), second.hidden("child", asked), strict=True):
        np.testing.assert_array_equal(one, other)
    assert second.usage.scored_tokens == 0


@pytest.mark.parametrize(
    ("layers", "positions", "message"),
    [((), (-1,), "no layers"), ((-1,), (0,), "no layers"), ((0,), (99,), "outside"), ((3,), (0,), "has 2 layers")],
)
def test_requests_without_sense_are_refused(
    engine: Engine, layers: tuple[int, ...], positions: tuple[int, ...], message: str
) -> None:
    """Layers and positions that are not there are bad input, not an index from the other end."""
    with pytest.raises(InputError, match=message):
        engine.hidden("child", [Hidden(PROMPTS[0], layers, positions)])
