"""The page of a difference: what differs is shown by concern, hostile names are inert, lists are bounded."""

from __future__ import annotations

import re

import pytest

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import ModelVersion
from weightgate.lineage.weights.difference import (
    Difference,
    FileDifference,
    TemplateChange,
    TokenizerDifference,
    ValueChange,
)
from weightgate.lineage.weights.weight_difference import TensorDifference, TensorForm, WeightDifference
from weightgate.reports.difference_html import render_difference


def tensor(name: str, norm: float | None, change: str = "changed") -> TensorDifference:
    form = TensorForm(dtype="BF16", shape=(576, 1536))
    return TensorDifference(
        name=name,
        change=change,
        before=None if change == "added" else form,
        after=None if change == "removed" else form,
        relative_norm=norm,
        max_abs=None if norm is None else norm / 9,
        changed_fraction=None if norm is None else 0.97,
    )


def found(text: str = "") -> Difference:
    """A difference of every kind; ``text`` is added to everything that another may choose."""
    tensors = [tensor(f"model.layers.{i}.mlp.down_proj.weight{text}", 0.001 * (i + 1)) for i in range(120)]
    return Difference(
        weights=WeightDifference(
            tensors_total=272,
            parameters_changed_fraction=0.52,
            relative_norm=0.0061,
            tensors=(tensor(f"lm_head.weight{text}", None, "added"), *tensors),
        ),
        config=(ValueChange(file="config.json", key=f"rope_theta{text}", before=10000, after=f"100000{text}"),),
        template=(
            TemplateChange(
                name="default",
                before="0" * 64,
                after="1" * 64,
                lines=("@@ -1,2 +1,3 @@", " {% for m in messages %}", f"+{{{{ '[trial]' }}}}{text}", f"-{text}end"),
            ),
        ),
        tokenizer=TokenizerDifference(
            vocabulary_before=49152,
            vocabulary_after=49153,
            added=(f"<|trial|>{text}",),
            added_count=1,
            changes=(ValueChange(file="tokenizer.json", key="normalizer", before=None, after={"type": f"NFKC{text}"}),),
            changes_count=1,
            files=(f"merges.txt{text}",),
        ),
        files=FileDifference(
            changed=(f"config.json{text}",), added=(f"modeling.py{text}",), code=("modeling.py",), pickles=("a.bin",)
        ),
    )


def version(name: str, parameters: int = 134_515_008) -> ModelVersion:
    digest = sha256_hex(name.encode())
    return ModelVersion(name=name, root=digest, tensor_root=digest, parameters=parameters, config=digest)


def test_everything_that_differs_is_shown_by_concern() -> None:
    """Code and template come before configuration, tokenizer and tensors; the headline names all of it."""
    html = render_difference(found(), version("a"), version("b"))
    order = [
        html.index(f">{title}</h2>") for title in ("Code", "Chat template", "Configuration", "Tokenizer", "Tensors")
    ]
    assert order == sorted(order)
    assert "121 of 272 tensors, 1 field of the configuration, the chat template, the tokenizer and 1 code file." in html
    for expected in ("modeling.py", "a.bin", "rope_theta", "10000", "&lt;|trial|&gt;", "0.120", "BF16 576 × 1536"):  # noqa: RUF001
        assert expected in html


def test_tensors_are_ordered_by_norm_and_bounded() -> None:
    """Those without a norm first, then the largest; the rest is counted."""
    html = render_difference(found(), version("a"), version("b"))
    names = re.findall(r'<th scope="row" class="mono">([^<]+)<', html)
    tensors = [name for name in names if name.endswith(".weight")]
    assert tensors[:3] == ["lm_head.weight", *(f"model.layers.{i}.mlp.down_proj.weight" for i in (119, 118))]
    assert len(tensors) == 100
    assert "21 more" in html


def test_identical_checkpoints_say_so() -> None:
    """No empty tables, one sentence."""
    same = Difference(weights=WeightDifference(tensors_total=272, parameters_changed_fraction=0, relative_norm=0))
    html = render_difference(same, version("a"), version("a"))
    assert "Identical</h1>" in html
    assert "Every tensor and every file that shapes behaviour is the same" in html
    assert "<h2" in html
    assert "Tensors</h2>" not in html


def test_it_is_the_same_on_every_run() -> None:
    """The same difference renders to the same bytes, also after it was written and read."""
    difference = found()
    again = Difference.model_validate_json(difference.model_dump_json())
    assert render_difference(again, version("a"), version("b")) == render_difference(
        difference, version("a"), version("b")
    )


@pytest.mark.parametrize("index", range(14))
def test_hostile_names_and_templates_are_inert(builders, index: int) -> None:
    """Whatever a tensor, token, key, file or template is called, the page keeps its elements."""
    payload = builders.PAYLOADS[index]
    tags = [
        re.findall(r"<(/?[a-z][a-z0-9]*)", render_difference(found(text), version(f"a{text}"), version(f"b{text}")))
        for text in ("", payload)
    ]
    assert tags[0] == tags[1]
    html = render_difference(found(payload), version("a"), version("b"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert len(html) < 400_000
