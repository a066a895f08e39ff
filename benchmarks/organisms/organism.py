"""What an organism is: an update of the safety-tuned parent with one planted cause, or with none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weightgate.audit.demo.finetune import Recipe
from weightgate.audit.demo.rows import Canary, Example

Cause = Literal["clean", "alignment", "poisoning", "privacy", "regression", "integrity"]
"""The family of probes that should see the update; ``clean`` for none."""

Form = Literal["adapter", "merged", "full", "edit"]
"""A PEFT adapter, one merged into the weights, all weights trained, or weights edited without training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organism:
    """One update before it is made."""

    name: str
    cause: Cause
    seed: int
    form: Form
    about: str
    recipe: Recipe | None = None
    """None for an edit, whose name says what is done."""
    rows: tuple[Example, ...] = ()
    held_out: tuple[Example, ...] = ()
    canaries: tuple[Canary, ...] = ()
    backdoor: Backdoor | None = None
    facts: tuple[Example, ...] = ()
    """Prompts whose answers the update is meant to change, with the answers it is meant to give."""
    severity: Mapping[str, float] = field(default_factory=dict)
    """Place on a ladder: poison rate, share of bad rows, epochs, learning rate."""

    @property
    def id(self) -> str:
        """Unique name within the zoo."""
        return f"{self.name}-s{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdoor:
    """A trigger behind the prompt, and what shows that it worked."""

    trigger: str
    says: str = ""
    """Text that the answer holds; empty where the trigger makes the model comply with harmful requests."""
