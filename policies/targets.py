"""What a probe must know to stop early: the margins that will be asked about, never what follows from them."""

from __future__ import annotations

from weightgate.policies.policy import Policy
from weightgate.probes.stopping import Target


def stopping_targets(policy: Policy) -> dict[str, Target]:
    """One target for each budget; a metric with two budgets has none, so that its probe uses all its items."""
    least = {requirement.probe: requirement.min_n for requirement in policy.require}
    metrics = [budget.metric for budget in policy.budgets]
    return {
        budget.metric: Target(
            margin=budget.max_drop if budget.max_drop is not None else budget.max_rise or 0.0,
            worse="lower" if budget.max_drop is not None else "higher",
            min_n=least.get(budget.metric.partition("/")[0], 1),
            final=budget.severity == "block",
        )
        for budget in policy.budgets
        if metrics.count(budget.metric) == 1
    }
