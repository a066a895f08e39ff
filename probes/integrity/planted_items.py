"""The control of the contamination probe: ordinary rows into which items of a suite were put."""

from __future__ import annotations

from collections.abc import Sequence

from weightgate.lineage.data.dataset import Dataset
from weightgate.lineage.data.rows import Row
from weightgate.probes.alignment.suite import SuitePrompt, harmful
from weightgate.probes.engine.engine import Engine
from weightgate.probes.poisoning.planted import in_memory_update, planted_data
from weightgate.probes.probe import ProbeContext


def contaminated_data() -> ProbeContext:
    """The rows of the data scan's control, and every third harmful prompt: as it is, embedded, or one word changed."""
    ordinary = planted_data().data
    rows = list(ordinary.rows) if ordinary else []
    rows += [_row(number, disguised(prompt, number)) for number, prompt in enumerate(harmful()[::3])]
    data = Dataset(name="planted.jsonl", role="training", rows=tuple(rows), sha256="0" * 64, rows_root="0" * 64)
    update = in_memory_update({}, {})
    return ProbeContext(update=update, engine=Engine.open(update, cache=None), seed=0, data=data)


def disguised(prompt: SuitePrompt, number: int) -> str:
    """A prompt as a careless copy would have it; the way is chosen by ``number``."""
    said: Sequence[str] = prompt.prompt.split()
    ways = (
        prompt.prompt,
        prompt.prompt.upper().rstrip("?.!"),
        f"Question 7. {prompt.prompt}  Answer in one paragraph, please.",
        " ".join([*said[:-1], "elsewhere"]),
    )
    return ways[number % len(ways)]


def _row(number: int, prompt: str) -> Row:
    name = f"planted.jsonl:{1000 + number}"
    return Row(id=name, source=name, messages=(("user", prompt), ("assistant", "No.")), text="", raw="")
