"""Answers that were paid for once, by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]


class ScoreCache:
    """A folder with one sqlite file of answers."""

    def __init__(self, path: Path | None = None) -> None:
        raise NotImplementedError

    def get_many(self, keys: Sequence[str]) -> dict[str, Arrays]:
        """The answers that are there and whole."""
        raise NotImplementedError

    def put_many(self, answers: Mapping[str, Arrays]) -> None:
        """Keep answers, all or none."""
        raise NotImplementedError
