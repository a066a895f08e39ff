"""One model in memory: hidden states, log-probabilities and step-by-step extension. Imports torch: see loading.py."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError
from weightgate.probes.engine.errors import ModelRunError
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import LAYOUTS, ONE_ROW, Layout, left_padded
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.stream import Stream, cache_argument

_EXPERT_FIELDS = ("num_experts", "num_local_experts", "n_routed_experts")
_SAMPLE = 24
_SAME_STATES = 0.1


class Backend:
    """Runs a model of transformers on batches of a fixed layout.

    Log-probabilities are computed in float32 from the last hidden state, only where they are asked for: in bfloat16
    the logits alone would be rounded by up to 0.06 nat. Models whose output is not a plain projection of the hidden
    state run as a whole.
    """

    def __init__(self, model: Any, side: Side, numerics: Numerics) -> None:
        self.side = side
        self._model = model
        self._device = model.get_input_embeddings().weight.device
        self._embeddings: int = model.get_input_embeddings().weight.shape[0]
        with torch.inference_mode(), self._run_errors():
            self._head = _separate_head(model, self._device)
        self._trunk = model.base_model if self._head else model
        self.layout = self._choose_layout(numerics.layout or LAYOUTS[numerics.device])
        self.shareable = numerics.device == "cpu" and not _remembers(model.config.get_text_config())
        """Whether several batches can run beside each other."""
        self._accepts = frozenset(inspect.signature(self._trunk.forward).parameters)
        self._cache_name = cache_argument(self._trunk)
        if self._cache_name is not None and not self._extends():
            self._cache_name = None
        self.continues = self._reads_in_pieces()
        """Whether continuations can be scored on the keys and values of a context that was run by itself."""

    @torch.inference_mode()
    def hidden(self, tokens: NDArray[np.int64]) -> torch.Tensor:
        """(R, L, H) last hidden states of right-padded rows, or logits where the model runs as a whole."""
        self._check(int(tokens.max()))
        with self._run_errors():
            output = self._trunk(input_ids=torch.from_numpy(tokens).to(self._device), use_cache=False)
        return self._last(output)

    @torch.inference_mode()
    def layers(self, tokens: NDArray[np.int64], layers: Sequence[int]) -> list[torch.Tensor]:
        """(R, L, H) states of right-padded rows after each of ``layers``; 0 is the embedding."""
        self._check(int(tokens.max()))
        with self._run_errors():
            states = self._model.base_model(
                input_ids=torch.from_numpy(tokens).to(self._device), use_cache=False, output_hidden_states=True
            ).hidden_states
        if states is None:
            raise ModelRunError(f"the {self.side} does not give its hidden states", remedy="leave out what needs them")
        if max(layers) >= len(states):
            raise InputError(
                f"the {self.side} has {len(states) - 1} layers, asked for hidden states after layer {max(layers)}",
                remedy="name layers that parent and child have",
            )
        return [states[layer].to(self._device) for layer in layers]

    @torch.inference_mode()
    def logprobs(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, V) natural log-probabilities, float32, from (n, H) of `hidden`. The caller keeps n fixed."""
        with self._run_errors():
            logits = self._head(hidden.float()) if self._head else hidden.float()
            return torch.log_softmax(logits, dim=-1)

    @torch.inference_mode()
    def begin(self, tokens: NDArray[np.int64]) -> tuple[Stream, torch.Tensor]:
        """Run left-padded prompts, -1 for padding; the stream to extend and the (R, H) states after the last tokens."""
        self._check(int(tokens.max()))
        rows = torch.from_numpy(tokens).to(self._device)
        stream, states = self._advance(rows, rows, None)
        return stream, states[:, -1]

    @torch.inference_mode()
    def extend(self, stream: Stream, tokens: torch.Tensor) -> tuple[Stream, torch.Tensor]:
        """Append one token to every row; ``tokens`` is (R,)."""
        rows = torch.cat([stream.tokens, tokens[:, None]], dim=1)
        stream, states = self._advance(rows, rows if stream.cache is None else tokens[:, None], stream.cache)
        return stream, states[:, -1]

    @torch.inference_mode()
    def follow(self, stream: Stream, tokens: NDArray[np.int64]) -> torch.Tensor:
        """(R, C, H) states of right-padded continuations, (R, C) with -1 for padding; it uses the stream up."""
        self._check(int(tokens.max()))
        new = torch.from_numpy(tokens).to(self._device)
        return self._advance(torch.cat([stream.tokens, new], dim=1), new, stream.cache)[1]

    def tensor(self, values: Any) -> torch.Tensor:
        """Integers on the model's device."""
        return torch.as_tensor(values, dtype=torch.long, device=self._device)

    def _advance(self, rows: torch.Tensor, new: torch.Tensor, cache: Any) -> tuple[Stream, torch.Tensor]:
        mask = rows >= 0
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -new.shape[1] :]
        kept = self._cache_name
        asked = {"attention_mask": mask.long(), "position_ids": positions, "use_cache": kept is not None}
        asked = {name: value for name, value in asked.items() if name in self._accepts}
        if kept is not None:
            asked[kept] = cache
        with self._run_errors():
            output = self._trunk(input_ids=new.clamp(min=0), **asked)
        return Stream(rows, getattr(output, kept, None) if kept else None), self._last(output)

    def _last(self, output: Any) -> torch.Tensor:
        states: torch.Tensor = output.last_hidden_state if self._head else output.logits
        return states.to(self._device)  # a model spread over devices leaves them on its last one

    def _choose_layout(self, usual: Layout) -> Layout:
        config = self._model.config.get_text_config()
        if any((getattr(config, field, None) or 0) > 1 for field in _EXPERT_FIELDS):
            return ONE_ROW
        return usual if self._head else LAYOUTS["cpu"]  # logits of every position take room

    def _reads_in_pieces(self) -> bool:
        """Tried on a sample: padding or pieces may be beyond a model that has its own idea of positions or memory."""
        if self._head is None or self._cache_name is None or _remembers(self._model.config.get_text_config()):
            return False
        sample, half = self._sample(), _SAMPLE // 2
        try:
            whole = self.hidden(np.array([sample]))[0, half:]
            stream, _ = self.begin(left_padded([tuple(sample[:half])], half + 4))
            if not stream.selectable:
                return False
            pieces = self.follow(stream.selected(self.tensor([0])), np.array([sample[half:]]))[0]
        except (ModelRunError, InputError):
            return False
        return _same(pieces, whole)

    def _extends(self) -> bool:
        """Tried on a padded sample: whether a step on what the model keeps gives what the whole text gives.

        An argument that a release of transformers renamed, or a memory that does not fit, would pass unnoticed
        otherwise: every answer would be the next word of a text of one token. Where it does not hold, whole texts are
        run at every step.
        """
        sample = self._sample()
        try:
            whole = self.hidden(np.array([sample]))[:, -1]
            stream, _ = self.begin(left_padded([tuple(sample[:-1])], _SAMPLE + 3))
            stepped = self.extend(stream, self.tensor(sample[-1:]))[1]
        except (ModelRunError, InputError):
            return False
        return _same(stepped, whole)

    def _sample(self) -> list[int]:
        return [1 + index % max(1, self._embeddings - 1) for index in range(_SAMPLE)]

    def _check(self, largest: int) -> None:
        if largest >= self._embeddings:
            raise InputError(
                f"the {self.side} has {self._embeddings} embeddings, but the parent's tokenizer gives token {largest}",
                remedy="parent and child must share a vocabulary to be compared",
            )

    @contextmanager
    def _run_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, NotImplementedError) as error:
            raise ModelRunError(
                f"the {self.side} cannot be run: {type(error).__name__}: {str(error)[:500]}",
                remedy="check that transformers runs it, and that there is enough memory",
            ) from error


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one.float() - other.float()).norm() <= _SAME_STATES * other.float().norm())


def _separate_head(model: Any, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The output layer in float32, if the model's logits are exactly its projection of the last hidden state."""
    module = model.get_output_embeddings()
    if module is None or model.base_model is model or any(weight.is_meta for weight in module.parameters()):
        return None
    bend = _declared_bend(model.config.get_text_config())
    sample = torch.arange(1, 9, device=device)[None] % model.get_input_embeddings().weight.shape[0]
    logits = model(input_ids=sample, use_cache=False).logits
    try:
        projected = bend(module(model.base_model(input_ids=sample, use_cache=False).last_hidden_state))
    except (AttributeError, TypeError, ValueError, RuntimeError):  # the parts do not fit together in the usual way
        return None
    if not torch.equal(projected, logits):
        return None
    head = copy.deepcopy(module)
    if hasattr(model, "hf_device_map"):
        from accelerate.hooks import remove_hook_from_module

        remove_hook_from_module(head, recurse=True)
    head = head.float().to(device)
    return lambda hidden: bend(head(hidden))


def _remembers(config: Any) -> bool:
    """Whether the model changes its rotary frequencies as it runs, to the length of what it sees."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    return any(kind in str(rope) for kind in ("dynamic", "longrope"))


def _declared_bend(config: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a configuration says is done to the logits: a scale (Cohere, Granite), then a soft cap (Gemma 2)."""
    times = getattr(config, "logit_scale", None) or 1.0
    over = getattr(config, "logits_scaling", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)

    def bend(logits: torch.Tensor) -> torch.Tensor:
        scaled = logits if times == 1.0 else logits * times
        scaled = scaled if over == 1.0 else scaled / over
        return torch.tanh(scaled / cap) * cap if cap else scaled

    return bend
