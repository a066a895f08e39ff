"""The parent against itself: what is asked of the child is answered by the parent, run in another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weightgate.probes.engine.executor import Answers, Usage
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import Arrays, Decode, Task
from weightgate.probes.engine.requests import Side


@dataclass(frozen=True, slots=True)
class Mirror:
    """Two ways to ask one parent, one for each side."""

    usual: Answers
    other: Answers

    @property
    def usage(self) -> Usage:
        """What was spent both ways."""
        return self.usual.usage + self.other.usage

    @property
    def numerics(self) -> Numerics:
        """Those of the usual way."""
        return self.usual.numerics

    def answer(self, side: Side, tasks: Sequence[Task], decode: Decode) -> list[Arrays]:
        """As every executor, about the parent only."""
        return (self.usual if side == "parent" else self.other).answer("parent", tasks, decode)

    def close(self) -> None:
        """Release the models."""
        self.usual.close()
        self.other.close()
