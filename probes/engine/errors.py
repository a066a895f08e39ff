"""What can go wrong while a model is asked."""

from __future__ import annotations

from weightgate.lineage.errors import WeightgateError


class TimeBudgetError(WeightgateError):
    """The time given to the audit is used up; everything answered so far is in the cache."""


class NonFiniteError(WeightgateError):
    """A model gave NaN or infinite log-probabilities: nothing can be concluded from it."""


class ModelRunError(WeightgateError):
    """A model was loaded but could not be run."""


class UnsupportedError(WeightgateError):
    """What runs a side has no answer to this kind of request: an endpoint shows no hidden states, for example."""
