"""Requests in words to tasks in token ids, and the checks that a request makes sense."""

from __future__ import annotations

from collections.abc import Sequence

from weightgate.lineage.errors import InputError
from weightgate.probes.engine.plan import ConsensusTask, GenerateTask, HiddenTask, NextTask, ScoreTask, Tokens
from weightgate.probes.engine.render import Renderer
from weightgate.probes.engine.requests import Consensus, Generate, Hidden, NextToken, Prompt, Score

MAX_TOP = 1000


def score_task(renderer: Renderer, request: Score) -> ScoreTask:
    """The context and the continuation in token ids.

    Raises:
        InputError: nothing to score, more than the model's context holds, or ``gather`` of another length.
    """
    if isinstance(request.continuation, tuple):
        context = _context(renderer, request.prompt, request.context)
        continuation = request.continuation
    elif request.context:
        context, continuation = (
            _context(renderer, request.prompt, request.context),
            renderer.encode(request.continuation),
        )
    else:
        context, continuation = renderer.continuation(request.prompt, request.continuation)
    if not continuation:
        raise InputError("a request scores a continuation of no tokens", remedy="give a continuation")
    if request.gather and len(request.gather) != len(continuation):
        raise InputError(
            f"a request gathers at {len(request.gather)} positions of a continuation of {len(continuation)} tokens",
            remedy="give one tuple of token ids for each continuation token",
        )
    if not 0 <= request.top <= min(MAX_TOP, renderer.vocab_size):
        raise InputError(f"a request asks for the top {request.top} tokens", remedy=f"ask for at most {MAX_TOP}")
    task = ScoreTask(context, continuation, request.top, request.gather)
    _check(renderer, task.inputs, 0)
    _check_ids(renderer, (*continuation, *(token for ids in request.gather for token in ids)))
    return task


def next_task(renderer: Renderer, request: NextToken) -> NextTask:
    """The prompt in token ids."""
    tokens = renderer.prompt_tokens(request.prompt)
    _check(renderer, tokens, 0)
    return NextTask(tokens)


def hidden_task(renderer: Renderer, request: Hidden) -> HiddenTask:
    """The prompt in token ids, its positions counted from the front.

    Raises:
        InputError: no layers or positions, or positions outside the prompt.
    """
    tokens = renderer.prompt_tokens(request.prompt)
    _check(renderer, tokens, 0)
    if not request.layers or not request.positions or min(request.layers) < 0:
        raise InputError("a request for hidden states of no layers or positions", remedy="name layers from 0 upwards")
    if not all(-len(tokens) <= position < len(tokens) for position in request.positions):
        raise InputError(
            f"a request for hidden states outside its prompt of {len(tokens)} tokens",
            remedy="name positions in the prompt; -1 is its last token",
        )
    return HiddenTask(tokens, request.layers, tuple(position % len(tokens) for position in request.positions))


def generate_task(renderer: Renderer, request: Generate, tokenizer: str) -> GenerateTask:
    """The prompt in token ids; ``tokenizer`` identifies the tokenizer that ``stop`` strings depend on."""
    if request.max_new_tokens < 1:
        raise InputError(f"a request for {request.max_new_tokens} new tokens", remedy="ask for one at least")
    prompt = _context(renderer, request.prompt, request.context)
    _check(renderer, prompt, request.max_new_tokens - 1)
    stop = tuple(text for text in request.stop if text)
    return GenerateTask(
        prompt,
        request.max_new_tokens,
        renderer.ends,
        stop,
        tokenizer if stop else "",
        turns=request.prompt.messages,
        opening=request.prompt.text,
    )


def consensus_task(renderer: Renderer, request: Consensus) -> ConsensusTask:
    """Prompts in token ids."""
    if not request.prompts or request.steps < 0 or not len(request.start) + request.steps:
        raise InputError("a consensus of no prompts or no tokens", remedy="give prompts, and start tokens or steps")
    prompts = tuple(renderer.prompt_tokens(prompt) for prompt in request.prompts)
    for prompt in prompts:
        _check(renderer, prompt, len(request.start) + request.steps - 1)
    _check_ids(renderer, request.start)
    return ConsensusTask(prompts, request.start, request.steps, renderer.ends)


def _context(renderer: Renderer, prompt: Prompt, tokens: Tokens) -> Tokens:
    if not tokens:
        return renderer.prompt_tokens(prompt)
    if prompt != Prompt():
        raise InputError("a request gives a prompt and a context", remedy="give one of the two")
    _check_ids(renderer, tokens)
    return tokens


def _check(renderer: Renderer, tokens: Tokens, more: int) -> None:
    if len(tokens) + more > renderer.context_length:
        raise InputError(
            f"a request of {len(tokens) + more} tokens, but the parent's context holds {renderer.context_length}",
            remedy="shorten the prompt or the answer",
        )


def _check_ids(renderer: Renderer, tokens: Sequence[int]) -> None:
    if tokens and not 0 <= min(tokens) <= max(tokens) < renderer.id_limit:
        raise InputError(
            f"a request names token ids up to {max(tokens)}, but the parent's vocabulary ends at {renderer.id_limit}",
            remedy="use ids below the vocabulary's size",
        )
