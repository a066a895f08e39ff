"""Runs `Score` and `Generate` with vLLM's offline engine (Kwon et al., SOSP 2023). Imports vllm where it is needed.

Written against the documented interface of vLLM 0.10.2 and not run: the machines this was made on have no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.probes.engine.errors import ModelRunError, UnsupportedError
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import Arrays, Decode, Done, GenerateTask, ScoreTask, Task
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.runner import GoOn

if TYPE_CHECKING:
    from weightgate.lineage.weights.checkpoint import Checkpoint
    from weightgate.lineage.weights.update import Update

_AT_ONCE = 256
_INVARIANT = "VLLM_BATCH_INVARIANT"
_SHARE_OF_MEMORY = 0.9
_MOST_TOP = 1000


def vllm_numerics(found: Numerics) -> Numerics:
    """Numerics of a run with vLLM: its batches are its own, and invariant only where it is told so."""
    invariant = "invariant" if os.environ.get(_INVARIANT, "0") not in {"", "0"} else "as they come"
    facts = {name: value for name, value in found.facts.items() if name not in {"batches", "head"}}
    return replace(found, facts={**facts, "vllm": _vllm_version(), "batches": f"vllm, {invariant}"})


class VllmRunner:
    """Both sides in vLLM, one after the other: a side is unloaded before the other one is loaded.

    An adapter is a LoRA request on the parent, so that it costs no second model.
    """

    def __init__(self, update: Update, numerics: Numerics) -> None:
        if find_spec("vllm") is None:
            raise MissingExtraError("--backend vllm", "vllm")
        self._update = update
        self._numerics = numerics
        self._loaded: tuple[str, Any] | None = None

    def run(self, side: Side, tasks: Sequence[Task], decode: Decode, go_on: GoOn) -> Iterator[Done]:
        """As `Runner.run`, a few hundred tasks at a time."""
        for task in tasks:
            if not isinstance(task, ScoreTask | GenerateTask) or (isinstance(task, ScoreTask) and any(task.gather)):
                raise UnsupportedError(
                    f"vLLM does not show what '{task.kind}' asks for", remedy="use --backend transformers"
                )
        for start in range(0, len(tasks), _AT_ONCE):
            if not go_on():
                return
            part = tasks[start : start + _AT_ONCE]
            outputs = self._generate(side, part)
            for index, (task, output) in enumerate(zip(part, outputs, strict=True), start):
                yield Done({index: _answer(task, output, decode)}, len(output.prompt_token_ids))

    def close(self) -> None:
        """Release the model."""
        self._loaded = None

    def _generate(self, side: Side, tasks: Sequence[Any]) -> list[Any]:
        from vllm import SamplingParams

        engine, adapter = self._model(side), self._adapter(side)
        prompts = [
            {"prompt_token_ids": list(t.context + t.continuation if isinstance(t, ScoreTask) else t.prompt)}
            for t in tasks
        ]
        settings = [
            SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=max(1, t.top), detokenize=False)
            if isinstance(t, ScoreTask)
            else SamplingParams(
                temperature=0.0,
                max_tokens=t.max_new_tokens,
                stop_token_ids=list(t.ends),
                stop=list(t.stop),
                skip_special_tokens=False,
                logprobs=1,
            )
            for t in tasks
        ]
        try:
            return list(engine.generate(prompts, settings, lora_request=adapter, use_tqdm=False))
        except (RuntimeError, ValueError) as error:
            raise ModelRunError(f"the {side} cannot be run: {error}", remedy="check vLLM's messages") from error

    def _model(self, side: Side) -> Any:
        checkpoint = self._update.child if side == "child" else self._update.parent
        weights = self._update.parent if checkpoint.kind == "adapter" else checkpoint
        key = str(weights.path)
        if self._loaded is None or self._loaded[0] != key:
            from vllm import LLM

            self._loaded = None
            try:
                model = LLM(
                    model=key,
                    tokenizer=str(self._update.parent.path),
                    dtype=self._numerics.dtype,
                    load_format="safetensors",
                    trust_remote_code=False,
                    seed=0,
                    max_logprobs=_MOST_TOP,
                    gpu_memory_utilization=_SHARE_OF_MEMORY,
                    **_lora(self._update.child),
                )
            except (RuntimeError, ValueError, OSError) as error:
                raise InputError(
                    f"{key}: vLLM cannot load the {side}: {error}", remedy="see vLLM's messages"
                ) from error
            self._loaded = (key, model)
        return self._loaded[1]

    def _adapter(self, side: Side) -> Any:
        if side == "parent" or self._update.child.kind != "adapter":
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest("child", 1, str(self._update.child.path))


def _lora(child: Checkpoint) -> dict[str, Any]:
    if child.kind != "adapter":
        return {}
    rank = (child.adapter_config or {}).get("r")
    return {"enable_lora": True, "max_lora_rank": max(8, rank if isinstance(rank, int) else 8)}


def _answer(task: Any, output: Any, decode: Decode) -> Arrays:
    if isinstance(task, GenerateTask):
        tokens = [token for token in output.outputs[0].token_ids if token not in task.ends]
        if task.stop:  # the token that completes a stop string is part of the answer, as for a model that runs here
            for count in range(1, len(tokens) + 1):
                if any(stop in decode(tokens[:count]) for stop in task.stop):
                    tokens = tokens[:count]
                    break
        return {"tokens": np.array(tokens, np.int32), "logprobs": np.array(_logprobs(output, tokens), np.float32)}
    shown = output.prompt_logprobs[len(task.context) :]
    own = [place[token] for place, token in zip(shown, task.continuation, strict=True)]
    answer: dict[str, Any] = {
        "logprobs": np.array([entry.logprob for entry in own], np.float32),
        "greedy": np.array([entry.rank == 1 for entry in own], np.bool_),
    }
    if task.top:
        ranked = [sorted(place.items(), key=lambda item: item[1].rank)[: task.top] for place in shown]
        answer["top_ids"] = np.array([[token for token, _ in place] for place in ranked], np.int32)
        answer["top_logprobs"] = np.array([[entry.logprob for _, entry in place] for place in ranked], np.float32)
    return answer


def _logprobs(output: Any, tokens: Sequence[int]) -> list[float]:
    places = output.outputs[0].logprobs[: len(tokens)]
    return [place[token].logprob for place, token in zip(places, tokens, strict=True)]


def _vllm_version() -> str:
    try:
        return version("vllm")
    except PackageNotFoundError as error:
        raise MissingExtraError("--backend vllm", "vllm") from error
