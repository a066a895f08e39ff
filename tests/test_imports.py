"""What must stay light stays light."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "peft", "lm_eval", "datasets", "scipy", "mlflow", "jinja2", "rich", "pydantic")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join(sorted(m.split('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_weightgate_loads_nothing_heavy() -> None:
    """`import weightgate` costs next to nothing."""
    assert loaded_after("import weightgate") & set(HEAVY) == set()


def test_signing_and_verifying_need_no_torch() -> None:
    """The verifier runs where no machine-learning library is installed."""
    heavy = loaded_after("import weightgate.audit.verify, weightgate.audit.cli.main, weightgate.lineage.weights.update")
    assert heavy & {"torch", "transformers", "peft", "lm_eval", "datasets", "scipy"} == set()


def test_the_public_names_are_there_when_used() -> None:
    """What `__all__` promises can be imported, and nothing else is offered."""
    import weightgate

    assert all(getattr(weightgate, name) for name in weightgate.__all__)
    assert dir(weightgate) == sorted(weightgate.__all__)
    assert not hasattr(weightgate, "anything_else")
