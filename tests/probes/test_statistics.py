"""Effects, intervals and p-values: against closed forms, against simulation, and on degenerate data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.probes import statistics
from weightgate.probes.statistics.clusters import between_variance, by_cluster


def test_paired_mean_equals_scipy_when_every_item_is_its_own_cluster() -> None:
    """With singleton clusters and no skewness the interval is the ordinary paired t interval."""
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(1)
    half = rng.normal(size=15)
    before, after = np.zeros(30), 0.3 + np.concatenate([half, -half])
    effect = statistics.paired_mean(before, after, range(30))
    reference = ttest_rel(after, before).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((reference.low, reference.high))


def test_paired_mean_covers_the_truth_at_its_level_with_correlated_items() -> None:
    """Intervals at 95 % on clusters of identical items miss the truth in about five per cent of samples."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(600):
        d = np.repeat(rng.normal(0.2, 1.0, size=16), 5)
        effect = statistics.paired_mean(np.zeros(80), d, np.repeat(np.arange(16), 5).tolist())
        missed += not effect.low <= 0.2 <= effect.high
    assert 0.02 <= missed / 600 <= 0.085


def test_tango_covers_rare_flips() -> None:
    """A true drop of two points in a churn of two per cent is rarely left outside the interval."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(600):
        before = rng.random(200) < 0.7
        after = before & ~(rng.random(200) < 0.02 / 0.7)
        effect = statistics.paired_proportion(before, after, range(200))
        missed += not effect.low <= -0.02 <= effect.high
    assert missed / 600 <= 0.07


def test_no_flip_is_not_certainty() -> None:
    """Equal answers on every item leave an interval of positive width, wider for fewer items."""
    few = statistics.paired_proportion([True] * 10, [True] * 10, range(10))
    many = statistics.paired_proportion([True] * 200, [True] * 200, range(200))
    assert few.effect == many.effect == 0.0
    assert few.low < many.low < 0 < many.high < few.high


def test_clustered_flips_widen_the_interval() -> None:
    """The same number of flips says less when they all sit in one topic."""
    before = [True] * 100
    spread = [i % 10 != 0 for i in range(100)]
    bunched = [i >= 10 for i in range(100)]
    topics = [i // 10 for i in range(100)]
    wide = statistics.paired_proportion(before, bunched, topics)
    narrow = statistics.paired_proportion(before, spread, topics)
    assert wide.low < narrow.low


def test_wilson_matches_the_published_example() -> None:
    """Wilson's interval for 81 of 263 is 0.2553 to 0.3662 (Newcombe 1998, method 3)."""
    assert statistics.wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_tango_without_discordant_pairs_has_its_closed_form() -> None:
    """With no flip the half width is z^2 / (n + z^2)."""
    half = 1.959964**2 / (43 + 1.959964**2)
    assert statistics.tango(0.0, 0.0, 43, 0.95) == pytest.approx((-half, half), abs=1e-6)


def test_auc_equals_the_rank_statistic_and_keeps_width_at_perfection() -> None:
    """The area is U / (n m), and a perfect separation of twenty rows is still uncertain."""
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(4)
    x, y = rng.normal(0.5, 1, 40).round(1), rng.normal(0, 1, 50).round(1)
    effect = statistics.auc(x, y, positive_clusters=range(40), negative_clusters=range(50))
    assert effect.after == pytest.approx(mannwhitneyu(x, y).statistic / 2000)
    perfect = statistics.auc(range(100, 120), range(20), positive_clusters=range(20), negative_clusters=range(20))
    assert perfect.after == 1.0
    assert perfect.low < 0.49


def test_auc_interval_covers_chance() -> None:
    """Exchangeable groups are told apart by the interval in no more than about five per cent of samples."""
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(200):
        x, y = rng.normal(size=60), rng.normal(size=60)
        effect = statistics.auc(x, y, positive_clusters=range(60), negative_clusters=range(60))
        missed += not effect.low <= 0 <= effect.high
    assert missed / 200 <= 0.09


def test_exact_intervals_and_tests_equal_their_references() -> None:
    """Clopper-Pearson, Wilson and exact McNemar are those of statsmodels."""
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.proportion import proportion_confint

    for successes, n in ((0, 20), (3, 50), (50, 50), (81, 263)):
        exact = proportion_confint(successes, n, alpha=0.1, method="beta")
        assert tuple(map(float, statistics.clopper_pearson(successes, n, 0.9))) == pytest.approx(exact)
        assert statistics.wilson(successes / n, n, 0.9) == pytest.approx(
            proportion_confint(successes, n, alpha=0.1, method="wilson"), abs=1e-12
        )
    for lost, won in ((0, 0), (1, 9), (5, 5), (7, 2)):
        reference = mcnemar([[10, lost], [won, 10]], exact=True).pvalue if lost + won else 1.0
        assert statistics.mcnemar_exact(lost, won) == pytest.approx(reference)


def test_a_rate_has_the_exact_interval_where_items_are_independent() -> None:
    """With singleton clusters and no correlation the design effect is next to one."""
    outcomes = [i < 3 for i in range(60)]
    effect = statistics.proportion(outcomes, range(60))
    low, high = statistics.clopper_pearson(3, 60, 0.95)
    assert (effect.low, effect.high) == pytest.approx((float(low), float(high)), rel=0.06)


def test_the_jackknife_is_what_leaving_out_each_cluster_gives() -> None:
    """The variance between clusters of unequal size is that of the leave-one-out means."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 7, size=60)
    d = rng.normal(size=60) + labels
    means = np.array([d[labels != g].mean() for g in range(7)])
    reference = 6 / 7 * ((means - d.mean()) ** 2).sum()
    assert float(between_variance(*by_cluster(d, labels.tolist()))) == pytest.approx(reference)


def test_few_large_drops_are_not_overlooked() -> None:
    """A bounded score that did not move at all leaves room for rare large drops."""
    same = [0.5] * 60
    assert statistics.paired_mean(same, same, range(60)).low == 0.0
    assert statistics.paired_mean(same, same, range(60), bound=1.0).low < -0.03


def test_fewer_clusters_mean_a_wider_interval() -> None:
    """The same flips in fewer, larger topics say less."""
    before, after = [True] * 120, [i % 12 != 0 for i in range(120)]
    widths = []
    for count in (60, 12, 4, 2):
        effect = statistics.paired_proportion(before, after, [i % count for i in range(120)])
        widths.append(effect.high - effect.low)
    assert widths == sorted(widths)


def test_cross_checks_stand_beside_the_interval() -> None:
    """Each paired effect carries second opinions that are finite and agree about a large effect."""
    effect = statistics.paired_proportion([True] * 40, [i >= 15 for i in range(40)], range(40))
    assert effect.high < 0
    assert effect.checks["bootstrap_high"] < 0
    assert effect.checks["mcnemar_p"] < 0.001
    wrapped = statistics.measurement(effect, metric="a/b", title="t", unit="proportion", worse="lower")
    assert wrapped.checks == dict(effect.checks)


def test_difference_of_means_equals_welch_on_singletons() -> None:
    """With singleton clusters the interval is Welch's."""
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(6)
    x, y = rng.normal(1, 1, 25), rng.normal(0, 3, 40)
    effect = statistics.difference_of_means(x, y, treated_clusters=range(25), control_clusters=range(40))
    reference = ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((reference.low, reference.high), rel=1e-6)


@pytest.mark.parametrize(
    ("before", "after", "clusters"),
    [([1.0], [1.0], [0]), ([1.0, 2.0], [1.0], [0, 1]), ([1.0, float("nan")], [1.0, 1.0], [0, 1])],
    ids=["one cluster", "lengths differ", "not a number"],
)
def test_data_that_cannot_carry_the_statistic_is_refused(
    before: list[float], after: list[float], clusters: list[int]
) -> None:
    """Too few clusters, unequal lengths and NaN raise instead of giving a number."""
    with pytest.raises(statistics.StatisticsError):
        statistics.paired_mean(before, after, clusters)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60), st.randoms())
def test_order_of_items_does_not_matter(rows: list[tuple[bool, bool]], random: object) -> None:
    """Any order of the same items gives the same effect, interval and p."""
    labelled = [(b, a, i // 3) for i, (b, a) in enumerate(rows)]
    if len({c for _, _, c in labelled}) < 2:
        return
    shuffled = labelled.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = statistics.paired_proportion(*(list(column) for column in zip(*labelled, strict=True)))
    two = statistics.paired_proportion(*(list(column) for column in zip(*shuffled, strict=True)))
    assert (one.effect, one.low, one.high) == pytest.approx((two.effect, two.low, two.high))
    assert one.low <= one.effect <= one.high
