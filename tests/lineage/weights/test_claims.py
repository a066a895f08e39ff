"""Claims about weights: each kind is held against the bytes, and files that are not plain claims are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from weightgate.lineage.changeset import Delta, ModelVersion, TensorChange
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.claims import Claims, read_claims
from weightgate.lineage.weights.claims_check import check_claims
from weightgate.lineage.weights.kinds.facts import Facts, Merge, MergeSource

ROOT = "a" * 64
Q, NORM = "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"
PARENT = ModelVersion(name="p", root=ROOT, tensor_root="1", parameters=9, tokenizer="t", chat_template="c", config="k")
CHILD = PARENT.model_copy(update={"root": "b" * 64, "chat_template": "d"})
MERGE = Merge(
    sources=(MergeSource(name="s", root="c" * 64, coefficient=0.302),),
    parent_coefficient=0.698,
    residual=0.01,
    noise=0.01,
    explained=True,
)
DELTA = Delta(
    kind="partial",
    tensors_total=3,
    tensors_changed=1,
    parameters_changed_fraction=0.4,
    relative_norm=0.02,
    changed=(TensorChange(name=Q, change="changed", relative_norm=0.02, rank=8),),
    files=("chat_template.jinja",),
    facts=Facts(merge=MERGE),
)


def failed(claims: dict[str, Any], delta: Delta = DELTA) -> list[str]:
    found = check_claims(
        read_claims(claims, "claims"), delta, (PARENT, CHILD), tensors=[Q, NORM, "lm_head.weight"], data=["d" * 64]
    )
    return [mismatch.claim for mismatch in found]


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ({"base": ROOT}, {"base": "b" * 64}),
        ({"kind": "partial"}, {"kind": "low-rank"}),
        ({"only_modules": ["*.q_proj"]}, {"only_modules": ["*.k_proj", "model.norm*"]}),
        ({"only_modules": ["model.layers.0.*"]}, {"only_modules": ["model.layers.1.*"]}),
        ({"frozen": ["model.norm", "lm_head.*"]}, {"frozen": ["*.self_attn.*"]}),
        ({"frozen": ["model.norm"]}, {"frozen": ["model.nrom"]}),
        ({"unchanged": ["tokenizer", "config"]}, {"unchanged": ["weights"]}),
        ({"unchanged": ["tokenizer"]}, {"unchanged": ["chat_template"]}),
        ({"unchanged": ["tokenizer"]}, {"unchanged": ["files"]}),
        ({"rank": 8}, {"rank": 7}),
        ({"max_relative_norm": 0.03}, {"max_relative_norm": 0.01}),
        ({"data": ["d" * 64]}, {"data": ["e" * 64]}),
        ({"data": ["d" * 64]}, {"data": []}),
        ({"unchanged": ["config"]}, {"adapter_type": "LORA"}),
        (
            {"merge": {"sources": ["s"], "coefficients": [0.3]}},
            {"merge": {"sources": ["s"], "coefficients": [0.3], "tolerance": 0.001}},
        ),
        (
            {"merge": {"sources": ["s"], "coefficients": [0.3]}},
            {"merge": {"sources": ["s", "r"], "coefficients": [0.3, 0.1]}},
        ),
    ],
)
def test_each_claim_holds_or_is_found_not_to(true: dict[str, Any], false: dict[str, Any]) -> None:
    """One true and one false claim of each kind about the same update."""
    assert failed(true) == []
    assert set(failed(false)) == set(false)


def test_a_rank_is_not_met_by_a_tensor_without_one() -> None:
    """A norm cannot be of low rank: a LoRA does not change it."""
    both = DELTA.model_copy(update={"changed": (*DELTA.changed, TensorChange(name=NORM, change="changed"))})
    assert failed({"rank": 8}, both) == ["rank"]


def test_a_norm_that_cannot_be_told_is_no_small_one() -> None:
    """None is not zero."""
    assert failed({"max_relative_norm": 0.5}, DELTA.model_copy(update={"relative_norm": None})) == ["max_relative_norm"]


def test_a_merge_with_a_rest_is_found_whatever_its_coefficients() -> None:
    """Right coefficients, and one tensor that was changed by hand."""
    rest = MERGE.model_copy(update={"explained": False, "unexplained": (NORM,), "unexplained_count": 1})
    (found,) = check_claims(
        read_claims({"merge": {"sources": ["s"], "coefficients": [0.3]}}, "claims"),
        DELTA.model_copy(update={"facts": Facts(merge=rest)}),
        (PARENT, CHILD),
    )
    assert (found.claim, found.where) == ("merge", NORM)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "claims nothing"),
        ({}, "claims nothing"),
        ("kind: full", "claims nothing"),
        ({"kind": "harmless"}, "kind"),
        ({"knid": "full"}, "knid"),
        ({"base": "main"}, "base"),
        ({"rank": 0}, "rank"),
        ({"rank": True}, "rank"),
        ({"max_relative_norm": -1}, "max_relative_norm"),
        ({"only_modules": "*"}, "only_modules"),
        ({"only_modules": [""]}, "only_modules"),
        ({"only_modules": ["*a" * 50]}, "wildcards"),
        ({"frozen": ["x" * 301]}, "frozen"),
        ({"frozen": ["x"] * 201}, "frozen"),
        ({"merge": {"sources": ["a"], "coefficients": [1, 2]}}, "one coefficient"),
        ({"merge": {"sources": [], "coefficients": []}}, "sources"),
        ({"merge": {"sources": ["a"], "coefficients": [1], "tolerance": 9}}, "tolerance"),
    ],
)
def test_what_is_no_claim_is_refused(document: Any, message: str) -> None:
    """One error that names the field; nothing is guessed and nothing ignored."""
    with pytest.raises(InputError, match=message):
        read_claims(document, "claims.yaml")


def test_claims_are_bounded_in_time() -> None:
    """The most wildcards that are allowed, against a name made to be slow."""
    claims = Claims(frozen=("*a*a*a*a*a*a*a*b",))
    delta = DELTA.model_copy(update={"changed": (TensorChange(name="a" * 1000, change="changed"),)})
    assert check_claims(claims, delta, (PARENT, CHILD)) == ()
    assert dataclasses.is_dataclass(check_claims(Claims(base="f" * 64), delta, (PARENT, CHILD))[0])
