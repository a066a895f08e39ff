"""Rows of tokens that are being extended, with the keys and values the model keeps of them. Imports torch."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import cache_utils

_SELECTABLE = (cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer)


_NAMES = ("cache", "past_key_values")


def cache_argument(model: Any) -> str | None:
    """What ``model.forward`` calls the keys and values it keeps, in its arguments and its output.

    transformers renamed ``past_key_values`` to ``cache`` in 5.24. None where a model keeps nothing under either name.
    """
    accepted = inspect.signature(model.forward).parameters
    return next((name for name in _NAMES if name in accepted), None)


@dataclass(slots=True)
class Stream:
    """Rows that are being extended: (rows, length) ids with -1 for padding, and what the model keeps of them."""

    tokens: torch.Tensor
    cache: Any

    @property
    def selectable(self) -> bool:
        """Whether what is kept is keys and values only, with one row for each row of tokens."""
        return type(self.cache) is cache_utils.DynamicCache and all(
            type(layer) in _SELECTABLE and isinstance(layer.keys, torch.Tensor) for layer in self.cache.layers
        )

    def repeated(self, times: int) -> Stream:
        """Every row ``times`` times, copies beside each other; this stream stays as it is."""
        cache = copy.deepcopy(self.cache)
        if cache is not None:
            cache.batch_repeat_interleave(times)
        return Stream(self.tokens.repeat_interleave(times, dim=0), cache)

    def selected(self, rows: torch.Tensor) -> Stream:
        """The rows with these indices, (n,), any of them several times; this stream, `selectable`, stays as it is."""
        return Stream(self.tokens[rows], _cache([self.cache], lambda parts: parts[0][rows.to(parts[0].device)]))

    @staticmethod
    def joined(streams: Sequence[Stream]) -> Stream:
        """All rows of `selectable` streams of one length, in order."""
        if len(streams) == 1:
            return streams[0]
        return Stream(torch.cat([s.tokens for s in streams]), _cache([s.cache for s in streams], torch.cat))


def _cache(caches: Sequence[Any], combine: Any) -> Any:
    """A cache of the kind of ``caches`` whose keys and values are what ``combine`` makes of theirs."""
    new = copy.copy(caches[0])
    new.layers = []
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        layer = copy.copy(layers[0])
        layer.keys = combine([part.keys for part in layers])
        layer.values = combine([part.values for part in layers])
        new.layers.append(layer)
    return new
