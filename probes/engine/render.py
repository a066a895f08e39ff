"""Prompts to tokens and back, by the parent's tokenizer and chat template for both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.probes.engine.requests import Prompt

if TYPE_CHECKING:
    from weightgate.lineage.weights.checkpoint import Checkpoint

MAX_RENDERED = 4_000_000
"""Characters a rendered prompt may have."""

_DEFAULT_CONTEXT = 2048
_CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
_NO_LIMIT = 1_000_000_000
# Some templates print the day's date; the same request must be the same tokens on every day: Wednesday, 1 January 2025.
_DAY = {"%-d": "1", "%d": "01", "%m": "01", "%b": "Jan", "%B": "January", "%Y": "2025", "%y": "25"}
_TIME = {"%a": "Wed", "%A": "Wednesday", "%H": "00", "%M": "00", "%S": "00"}
_FIXED_DATE = "".join(
    (
        "{%- macro strftime_now(format) -%}{{ format",
        *(f" | replace({code!r}, {text!r})" for code, text in (_DAY | _TIME).items()),
        " }}{%- endmacro -%}",
    )
)


class Renderer:
    """The parent's tokenizer, hostile like everything read: templates run in the sandbox of transformers.

    Raises:
        InputError: the parent has no tokenizer, or one that cannot be loaded without running its code.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, parent: Checkpoint) -> None:
        self.name = parent.path.name
        self.tokenizer = _load_tokenizer(parent)
        self.vocab_size: int = len(self.tokenizer)
        self.id_limit = _id_limit(parent, self.tokenizer)
        self.special_ids = _special_ids(self.tokenizer)
        self.context_length = _context_length(parent, self.tokenizer)
        self.ends = _end_ids(parent, self.tokenizer)
        self.prompt_tokens = lru_cache(maxsize=1 << 16)(self._prompt_tokens)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of ``text`` without special tokens around it."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of ``tokens``; special tokens stay visible unless ``skip_special``."""
        text: str = self.tokenizer.decode(
            list(tokens), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
        )
        return text

    def continuation(self, prompt: Prompt, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of the prompt and of ``text`` after it.

        The whole is encoded and split where the prompt's tokens end, as the model would meet it; where prompt and
        text share a token, the text is encoded by itself.
        """
        context = self.prompt_tokens(prompt)
        whole = self._prompt_tokens(Prompt(prompt.messages, prompt.text + text))
        if whole[: len(context)] == context and len(whole) > len(context):
            return context, whole[len(context) :]
        return context, self.encode(text)

    def render(self, messages: Sequence[tuple[str, str]], *, open_answer: bool = True) -> str:
        """The chat template's text for ``messages`` (role, content).

        With ``open_answer`` the generation prompt is added; else the last message is left open to be continued.

        Raises:
            InputError: there is no template, or it fails on these messages.
        """
        if self.tokenizer.chat_template is None:
            raise InputError(
                f"the parent {self.name} has no chat template, so it cannot be asked in turns",
                remedy="give the chat-tuned model with its chat template, or leave out the probes that chat",
            )
        turns = [{"role": role, "content": content} for role, content in messages]
        try:
            template = self.tokenizer.get_chat_template()
            text = self.tokenizer.apply_chat_template(
                turns,
                chat_template=_FIXED_DATE + template if "strftime_now" in template else template,
                tokenize=False,
                add_generation_prompt=open_answer,
                continue_final_message=not open_answer,
            )
        except Exception as error:  # a template is a program of the model's maker: it can raise anything
            raise InputError(
                f"the chat template of the parent {self.name} fails on {len(turns)} turns: {str(error)[:300]}",
                remedy="correct the template, or check which roles it allows",
            ) from error
        if len(text) > MAX_RENDERED:
            raise InputError(
                f"the chat template of the parent {self.name} gives {len(text)} characters",
                remedy="correct the template",
            )
        return str(text)

    def _prompt_tokens(self, prompt: Prompt) -> tuple[int, ...]:
        if prompt.messages:
            return self.encode(self.render(prompt.messages) + prompt.text)
        start = self.tokenizer.bos_token
        if start and prompt.text.startswith(start):
            return self.encode(prompt.text)
        tokens = tuple(self.tokenizer.encode(prompt.text, add_special_tokens=True))
        if tokens and tokens[-1] == self.tokenizer.eos_token_id:  # some tokenizers close a text; a prompt stays open
            tokens = tokens[:-1]
        return tokens or self._first_token()

    def _first_token(self) -> tuple[int, ...]:
        """What the first token of a text is conditioned on where the tokenizer puts nothing before it."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return (int(token),)
        raise InputError(
            f"an empty prompt, and the tokenizer of the parent {self.name} has no token to begin a text with",
            remedy="give a prompt of one token at least",
        )


def _load_tokenizer(parent: Checkpoint) -> Any:
    if parent.kind != "model":
        raise InputError(
            f"{parent.path}: the parent is {'an adapter' if parent.kind == 'adapter' else 'a single file'}, which has "
            "no tokenizer and no architecture of its own, so it cannot be asked anything",
            remedy="give the folder of the full parent model",
        )
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("asking a model", "probes") from error
    try:
        return AutoTokenizer.from_pretrained(str(parent.path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # hostile tokenizer files can make the library raise anything
        raise InputError(
            f"{parent.path}: the tokenizer cannot be loaded: {str(error)[:300]}",
            remedy="give a folder that holds the tokenizer files (tokenizer.json) and needs no code of its own",
        ) from error


def _special_ids(tokenizer: Any) -> frozenset[int]:
    flagged = {int(index) for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(flagged | {int(index) for index in tokenizer.all_special_ids})


def _text_config(parent: Checkpoint) -> Mapping[str, Any]:
    nested = parent.config.get("text_config")
    return nested if isinstance(nested, dict) else parent.config


def _id_limit(parent: Checkpoint, tokenizer: Any) -> int:
    """One more than the largest id; a model may have more outputs than its tokenizer has tokens, and choose them."""
    stated = _text_config(parent).get("vocab_size")
    known = 1 + max(tokenizer.get_vocab().values())
    return max(known, stated) if isinstance(stated, int) else int(known)


def _context_length(parent: Checkpoint, tokenizer: Any) -> int:
    config = _text_config(parent)
    stated = [config.get(field) for field in _CONTEXT_FIELDS] + [tokenizer.model_max_length]
    return next((int(n) for n in stated if isinstance(n, int) and 0 < n < _NO_LIMIT), _DEFAULT_CONTEXT)


def _end_ids(parent: Checkpoint, tokenizer: Any) -> tuple[int, ...]:
    """End-of-text and end-of-turn tokens: the tokenizer's own and those the parent's configurations name."""
    named = [tokenizer.eos_token_id]
    for document in (parent.config, parent.generation_config):
        value = document.get("eos_token_id")
        named += value if isinstance(value, list) else [value]
    return tuple(sorted(set(_token_ids(named))))


def _token_ids(values: Iterable[Any]) -> Iterable[int]:
    return (value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0)
