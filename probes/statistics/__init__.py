"""Paired, clustered effects with intervals. A margin in the policy decides, never a p-value."""

from weightgate.probes.statistics.crosschecks import cluster_bootstrap, mcnemar_exact, sign_flip_p
from weightgate.probes.statistics.effect import Effect, StatisticsError, measurement
from weightgate.probes.statistics.intervals import clopper_pearson, tango, wilson
from weightgate.probes.statistics.paired import difference_of_means, paired_mean, paired_proportion, proportion
from weightgate.probes.statistics.ranks import auc

__all__ = [
    "Effect",
    "StatisticsError",
    "auc",
    "clopper_pearson",
    "cluster_bootstrap",
    "difference_of_means",
    "mcnemar_exact",
    "measurement",
    "paired_mean",
    "paired_proportion",
    "proportion",
    "sign_flip_p",
    "tango",
    "wilson",
]
