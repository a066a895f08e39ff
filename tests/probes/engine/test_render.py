"""Prompts become the tokens the parent's tokenizer and template make of them, and a hostile template does no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.probes.engine.render import Renderer
from weightgate.probes.engine.requests import Prompt


@pytest.fixture
def folder(write_model: Callable[..., Path]) -> Path:
    """A model folder."""
    return write_model()


def renderer(folder: Path, template: str | None = None) -> Renderer:
    """The renderer of a folder, after its chat template was replaced."""
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return Renderer(Checkpoint.open(folder))


def test_turns_are_rendered_and_the_prefill_follows(folder: Path) -> None:
    """The template's text with the generation prompt, then the start of the answer, special tokens as such."""
    tokens = renderer(folder).prompt_tokens(Prompt.user("How many?", prefill="It has"))
    assert renderer(folder).decode(tokens) == "<|turn|>user\nHow many?<|end|>\n<|turn|>assistant\nIt has"
    assert tokens[0] == 1
    assert 2 in tokens


def test_text_is_taken_as_it_is_where_the_tokenizer_adds_nothing(folder: Path) -> None:
    """Without messages only the text's own tokens are there, and they decode to it."""
    made = renderer(folder)
    assert made.prompt_tokens(Prompt(text="Rome is")) == made.encode("Rome is")
    assert made.decode(made.encode("Rome is")) == "Rome is"


def test_the_tokenizers_own_first_token_is_added_once(folder: Path) -> None:
    """A tokenizer that begins texts with a token does so, unless it is there; one that ends them does not."""
    plain = renderer(folder)
    begin = TemplateProcessing(single="<|text|> $A <|end|>", special_tokens=[("<|text|>", 0), ("<|end|>", 2)])
    plain.tokenizer.backend_tokenizer.post_processor = begin
    expected = (0, *plain.encode("Rome"))
    assert plain.prompt_tokens(Prompt(text="Rome")) == expected
    assert plain.prompt_tokens(Prompt(text="<|text|>Rome")) == expected


def test_an_empty_prompt_is_the_first_token(folder: Path) -> None:
    """The first token of a text is scored after the beginning-of-text token."""
    assert renderer(folder).prompt_tokens(Prompt()) == (0,)


def test_a_continuation_is_split_where_the_prompt_ends(folder: Path) -> None:
    """Prompt and continuation together are the tokens of the whole text, also where words merge over the edge."""
    made = renderer(folder)
    assert made.continuation(Prompt(text="France"), " is Paris") == (made.encode("France"), made.encode(" is Paris"))
    context, continuation = made.continuation(Prompt(text="Fra"), "nce")
    assert made.decode(context + continuation) == "France"
    assert context == made.encode("Fra")


def test_special_and_end_tokens_are_known(folder: Path) -> None:
    """Special ids come from the tokenizer, end tokens also from the configurations; nonsense in these is ignored."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, "9", True, -1, 2]}))
    made = renderer(folder)
    assert made.special_ids == {0, 1, 2}
    assert made.ends == (2, 7)
    assert made.context_length == 256
    assert made.id_limit == 384
    assert made.vocab_size < 384


def test_the_date_in_a_template_is_the_same_every_day(folder: Path) -> None:
    """A template that prints today's date prints one fixed day, so that the same request is the same tokens."""
    tokens = renderer(folder, "{{ strftime_now('%d %b %Y, %A') }} {{ messages[0]['content'] }}").prompt_tokens(
        Prompt.user("x")
    )
    assert renderer(folder).decode(tokens) == "01 Jan 2025, Wednesday x"


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('only user turns') }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ undefined_thing.attribute }}",
        "{% for m in messages %}",
        "{{ 1 // 0 }}",
        "{% for i in range(99999) %}{{ 'x' * 100 }}{% endfor %}",
    ],
)
def test_a_template_that_fails_is_an_input_error(folder: Path, template: str) -> None:
    """Refusals, attempts to leave the sandbox, mistakes and floods are errors that name the parent."""
    with pytest.raises(InputError, match="chat template of the parent parent"):
        renderer(folder, template).prompt_tokens(Prompt.user("x"))


def test_no_template_is_an_input_error_only_for_turns(folder: Path) -> None:
    """A base model can be given text, not turns."""
    (folder / "chat_template.jinja").unlink()
    assert renderer(folder).prompt_tokens(Prompt(text="Rome"))
    with pytest.raises(InputError, match="no chat template"):
        renderer(folder).prompt_tokens(Prompt.user("x"))


def test_a_tokenizer_that_needs_its_own_code_is_refused(folder: Path) -> None:
    """Code named in tokenizer_config.json is not run."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match="custom code"):
        renderer(folder)


def test_a_missing_tokenizer_is_an_input_error(folder: Path) -> None:
    """The error says what is missing."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="tokenizer cannot be loaded"):
        renderer(folder)
