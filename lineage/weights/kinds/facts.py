"""What was found about an update beyond which tensors changed: one typed record for each kind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weightgate.lineage.canonical import Frozen

UpdateKind = Literal[
    "identical",
    "full",
    "partial",
    "sparse",
    "low-rank",
    "merge",
    "quantised",
    "dtype-only",
    "adapter",
    "soft-prompt",
    "prefix",
    "cartridge",
    "fast-weights",
    "tokenizer-only",
    "template-only",
    "config-only",
    "files-only",
]


class Scope(Frozen):
    """Where in the network the changed tensors lie, by their names."""

    layers: tuple[int, ...] = Field(default=(), description="Numbers of the layers that hold a changed tensor.")
    layers_total: int = Field(default=0, description="Layers that hold any tensor, on either side.")
    modules: tuple[str, ...] = Field(
        default=(), description="Names of changed tensors with their layer's number left out, at most 100."
    )


class RowUpdate(Frozen):
    """A matrix in which only some rows changed, such as an embedding of new words."""

    name: str
    rows: int = Field(description="Rows that changed.")
    rows_total: int
    first: tuple[int, ...] = Field(description="The first 100 of them.")
    sha256: str = Field(description="Of the row numbers, each as 8 little-endian bytes, in order.")


class Sparse(Frozen):
    """Few elements changed inside the changed tensors."""

    elements_changed: int
    elements_total: int = Field(description="Elements of the changed tensors.")
    fraction: float = Field(ge=0, le=1)
    one_step: float = Field(
        ge=0,
        le=1,
        description="Share of the changed elements that moved to the next number of their dtype. Near one, the update "
        "is not sparse: it is a small one of which rounding left little.",
    )
    positions: str = Field(
        description="SHA-256 over the changed tensors by name: canonical JSON of the name, then the positions of the "
        "changed elements in row-major order, each as 8 little-endian bytes."
    )
    rows: tuple[RowUpdate, ...] = Field(
        default=(), description="Matrices of which at most a quarter of the rows changed."
    )


class LowRank(Frozen):
    """Matrices whose difference has few singular values above what rounding to the dtype can make.

    A merged LoRA looks like this. The rank is a lower bound: parts of the update below the rounding noise are not seen.
    """

    matrices: int = Field(description="Changed matrices that were examined.")
    matrices_changed: int
    low: int = Field(description="Those that are of low rank.")
    rank_min: int = Field(description="Over those of low rank.")
    rank_max: int
    captured: float = Field(
        ge=0, le=1, description="Smallest share of the squared norm of a difference that its leading part holds."
    )
    noise: float = Field(
        ge=0, description="Largest share of the squared norm of a difference that rounding would explain."
    )


class Cast(Frozen):
    """Tensors stored in another dtype."""

    before: str
    after: str
    tensors: int
    exact: int = Field(description="Those in which every value is the same.")
    nearest: int = Field(description="Those in which every value is the nearest one that the new dtype has.")


class Quantisation(Frozen):
    """Weights that lie on few levels: stored as integers or 8-bit floats with scales, or put back into floats."""

    form: Literal["stored", "dequantised"]
    dtype: str = Field(description="Dtype the levels are stored in.")
    matrices: int = Field(description="Changed matrices that were examined.")
    quantised: int
    levels: int = Field(description="Most distinct values in one group of a quantised matrix.")
    bits: int = Field(description="Bits that so many levels need.")
    group: str = Field(description="What shares a scale: 'tensor', 'row', 'block', or the number of elements in a row.")
    round_trip: float | None = Field(
        default=None, description="Norm of (dequantised - parent) over that of the parent; None if it cannot be had."
    )


class MergeSource(Frozen):
    """One model that went into a merge; the parent is always one of them."""

    name: str
    root: str
    coefficient: float


class Merge(Frozen):
    """The child as a weighted sum of given models, coefficients found by least squares over all tensors."""

    sources: tuple[MergeSource, ...]
    parent_coefficient: float = Field(description="One less the sum of the others.")
    residual: float = Field(ge=0, description="Norm of what the sum does not explain over that of the difference.")
    noise: float = Field(ge=0, description="The same for rounding the sum to the child's dtype.")
    explained: bool = Field(description="Whether the residual is no more than rounding explains, in every tensor.")
    unexplained: tuple[str, ...] = Field(default=(), description="Tensors with more, at most 100.")
    unexplained_count: int = 0


class VirtualTokens(Frozen):
    """A soft prompt, a prefix, or a compressed key-value cache: it is put before every text, and no weight changes."""

    type: str = Field(description="As its configuration names it.")
    tokens: int
    layers: int = Field(default=0, description="Layers that get keys and values; 0 for a soft prompt.")
    width: int = Field(description="Numbers a token has in one layer: embedding, or keys of all heads.")
    fits: bool = Field(description="Whether layers and width are those of the parent's configuration.")
    frozen: int = Field(default=0, description="Leading tokens that were not trained.")


class Stream(Frozen):
    """Fast weights of test-time training: small differences that are added one after another."""

    steps: int
    head: str = Field(
        description="Digest of the chain: SHA-256 of the previous digest and the step's tensor root, as bytes, from "
        "32 zero bytes."
    )
    first: str = Field(description="Tensor root of the first step.")
    last: str
    norm: float | None = Field(description="Norm of the sum of all steps over that of the parent.")
    path: float | None = Field(description="Sum of the norms of the steps over that of the parent.")
    largest_step: int = Field(description="Number of the step with the largest norm, from 1.")


class Facts(Frozen):
    """All that was found; what does not apply is absent."""

    scope: Scope | None = None
    sparse: Sparse | None = None
    low_rank: LowRank | None = None
    casts: tuple[Cast, ...] = ()
    quantisation: Quantisation | None = None
    merge: Merge | None = None
    virtual_tokens: VirtualTokens | None = None
    stream: Stream | None = None
