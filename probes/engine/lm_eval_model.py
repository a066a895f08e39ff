"""One side of an update as a model for lm-eval's tasks: the same questions, asked through the engine.

lm-eval's own model runs batches whose layout depends on what else is asked, and its caches are keyed without the
weights; neither will do for a comparison of two checkpoints. What text becomes which tokens is left to lm-eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Generate, Score, Side

_DEFAULT_NEW_TOKENS = 256
_LIMIT_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_Pair = tuple[tuple[str, str] | None, list[int], list[int]]
"""Context and continuation as text, where there is one, and as tokens."""


def lm_eval_model(engine: Engine, side: Side) -> Any:
    """An ``lm_eval.api.model.TemplateLM`` that answers with one side.

    Contexts too long for the model lose their beginning, as with lm-eval's own model (Biderman et al. 2024,
    arXiv:2405.14782, describe the requests). Only greedy generation is offered.

    Raises:
        MissingExtraError: lm-eval is not installed.
    """
    try:
        from lm_eval.api.model import TemplateLM
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    except ImportError as error:
        raise MissingExtraError("running lm-eval's tasks", "probes") from error

    class EngineModel(TemplateLM):  # type: ignore[misc] # lm-eval is not typed
        tokenizer = engine.renderer.tokenizer
        tokenizer_name = "weightgate"
        max_length = engine.context_length

        @property
        def eot_token_id(self) -> int:
            return int(self.tokenizer.eos_token_id)

        @property
        def prefix_token_id(self) -> int:
            first = self.tokenizer.bos_token_id
            return self.eot_token_id if first is None else int(first)

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            if add_special_tokens is None:
                add_special_tokens = not string.startswith(self.tokenizer.decode([self.prefix_token_id]))
            return list(self.tokenizer.encode(string, add_special_tokens=add_special_tokens))

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return engine.renderer.render(
                [(turn["role"], turn["content"]) for turn in chat_history], open_answer=add_generation_prompt
            )

        def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
            return answers

        def _loglikelihood_tokens(self, requests: Sequence[_Pair], **_: Any) -> list[tuple[float, bool]]:
            answers = engine.score(side, [_score(self.max_length, pair) for pair in requests])
            return [(answer.total, bool(answer.greedy.all())) for answer in answers]

        def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
            pairs: list[_Pair] = []
            owners: list[int] = []
            for index, request in enumerate(requests):
                windows = get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                )
                parts = [make_disjoint_window(window) for window in windows]
                pairs += [(None, context, continuation) for context, continuation in parts]
                owners += [index] * len(parts)
            totals = [0.0] * len(requests)
            for owner, answer in zip(owners, self._loglikelihood_tokens(pairs), strict=True):
                totals[owner] += answer[0]
            return totals

        def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
            stops = [_stops(request.args[1], self.tokenizer.decode([self.eot_token_id])) for request in requests]
            asked = [
                _generate(self.tok_encode(request.args[0]), request.args[1], stop, self.max_length)
                for request, stop in zip(requests, stops, strict=True)
            ]
            answers = engine.generate(side, asked)
            texts = [engine.renderer.decode(answer.tokens, skip_special=True) for answer in answers]
            return [_cut(text, stop) for text, stop in zip(texts, stops, strict=True)]

    return EngineModel()


def _score(max_length: int, pair: _Pair) -> Score:
    _, context, continuation = pair
    if not continuation or len(continuation) > max_length:
        raise InputError(
            f"a continuation of {len(continuation)} tokens cannot be scored in a context of {max_length}",
            remedy="check the task's answers",
        )
    kept = (context + continuation)[-(max_length + 1) : -len(continuation)]
    return Score(context=tuple(kept), continuation=tuple(continuation))


def _generate(context: list[int], settings: dict[str, Any], stop: Sequence[str], max_length: int) -> Generate:
    if settings.get("do_sample") or (settings.get("do_sample") is None and float(settings.get("temperature", 0.0)) > 0):
        raise InputError(
            "a task samples its answers; only greedy answers can be compared", remedy="set do_sample: false"
        )
    most = int(next((settings[name] for name in _LIMIT_NAMES if settings.get(name) is not None), _DEFAULT_NEW_TOKENS))
    if not 0 < most < max_length:
        raise InputError(f"a task asks for {most} new tokens in a context of {max_length}", remedy="ask for fewer")
    return Generate(context=tuple(context[-(max_length - most) :]), max_new_tokens=most, stop=tuple(stop))


def _stops(settings: dict[str, Any], end: str) -> list[str]:
    until = settings.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    return stops if end in stops else [*stops, end]


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in filter(None, stops):
        text = text.split(stop, maxsplit=1)[0]
    return text
