# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics on values worked out by hand, and at n = 0, 1, 2 and ties."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmelab.show import stats

measured = st.lists(st.floats(1, 1e7), min_size=1, max_size=12)


def spread(*values: float) -> stats.Spread:
    found = stats.spread(values)
    assert found
    return found


def test_nothing_measured_has_no_spread():
    """No value, or only values that were not measured, is nothing: not a zero."""
    assert stats.spread([]) is None
    assert stats.spread([None, None]) is None


def test_one_value_pretends_no_interval():
    """A single value is its own median, its range has no width and there is no interval."""
    one = spread(7)
    assert (one.n, one.median, one.low, one.high, one.mad) == (1, 7, 7, 7, 0)
    assert one.ci_low is one.ci_high is None


def test_two_values():
    """The median of two lies between them; no interval is made of two values."""
    two = spread(20, 10)
    assert (two.n, two.median, two.low, two.high, two.mad) == (2, 15, 10, 20, 5)
    assert two.ci_low is None
    assert two.interval == (10, 20)


def test_values_not_measured_do_not_count():
    """Only what was measured is counted in n."""
    assert spread(1, None, 3).n == 2  # type: ignore[arg-type]


def test_worked_out_spread():
    """Median 4 of 1 2 4 8 100; distances 3 2 0 4 96 have the median 3."""
    five = spread(100, 1, 4, 8, 2)
    assert (five.median, five.low, five.high, five.mad) == (4, 1, 100, 3)


def test_ties_have_an_interval_without_width():
    """Five equal values leave nothing uncertain that they could show."""
    assert spread(3, 3, 3, 3, 3).interval == (3, 3)


def test_interval_is_the_order_statistics_of_the_bootstrap():
    """For 5 values, a median equals the least with probability 5.8 %: the interval reaches it.

    P(median of 5 draws is the least) = P(at least 3 of 5 draws are it) = 0.058 > 0.025.
    """
    assert stats.median_interval([10, 20, 30, 40, 50]) == (10, 50)


def test_interval_is_repeatable_whatever_the_order():
    """The same values give the same interval: the resampling is seeded, the order is not read."""
    values = [3.0, 9, 4, 7, 5, 8, 6]
    assert stats.median_interval(values) == stats.median_interval(values[::-1])


@given(st.lists(st.floats(1, 1e7), min_size=5, max_size=12))
def test_interval_lies_within_the_values_and_holds_the_median(values: list[float]):
    """A bootstrap draws from the values, so it cannot leave them."""
    found = stats.median_interval(values)
    assert found
    assert min(values) <= found[0] <= statistics.median(values) <= found[1] <= max(values)


@pytest.mark.parametrize(
    ("one", "other", "state"),
    [
        ((10, 12), (11, 13), "none"),
        ((10, 12), (12, 13), "none"),  # touching is overlapping
        ((10, 11), (12, 13), "apart"),
        ((10,), (12, 13), "unknown"),
        ((10,), (10,), "unknown"),
        ((10, 10, 10, 10, 10), (12, 12, 12, 12, 12), "shown"),
        ((10, 10, 10, 10, 10), (12, 13), "apart"),
    ],
)
def test_difference(one: tuple[float, ...], other: tuple[float, ...], state: str):
    """Overlapping ranges show no difference; a single value shows nothing at all."""
    assert stats.difference(spread(*one), spread(*other)).state == state


def test_difference_has_the_ratio_of_the_medians():
    """15 against 10 is 1.5 times; against 0 there is no ratio."""
    assert stats.difference(spread(14, 16), spread(9, 11)).ratio == 1.5
    assert stats.difference(spread(14, 16), spread(0, 0)).ratio is None


def test_difference_within_the_noise_of_the_run_is_none():
    """Two ranges of two lie apart by luck: a run that scatters by 10 % does not believe them."""
    one, other = spread(100, 101), spread(103, 104)
    assert stats.difference(one, other).state == "apart"
    assert stats.difference(one, other, stats.Noise(sd=0.1, df=10)).state == "none"
    assert stats.difference(one, other, stats.Noise(sd=0.001, df=10)).state == "apart"


@given(measured, measured)
def test_difference_is_the_same_from_both_sides(one: list[float], other: list[float]):
    """Whether two differ does not depend on which is named first."""
    left, right = spread(*one), spread(*other)
    noise = stats.Noise(0.05, 12)
    there, back = stats.difference(left, right, noise), stats.difference(right, left, noise)
    assert there.state == back.state
    assert there.ratio
    assert back.ratio
    assert math.isclose(there.ratio * back.ratio, 1)


def test_noise_pools_the_cells():
    """Three pairs whose logarithms are 0.02 apart: each has variance 0.0002, so has the pool."""
    pairs = [spread(k, k * math.exp(0.02)) for k in (10, 1000, 100_000)]
    noise = stats.noise(pairs)
    assert noise
    assert noise.df == 3
    assert math.isclose(noise.sd, math.sqrt(0.0002), rel_tol=1e-9)
    # Student's t of 3 degrees of freedom is 3.182; two medians of two each: sqrt(1/2 + 1/2) = 1.
    assert math.isclose(noise.floor(2, 2), 3.182 * noise.sd, rel_tol=0.01)


def test_noise_needs_repetitions():
    """Single values, zeros and too few pairs say nothing of noise."""
    assert stats.noise([spread(1), spread(2), spread(3)]) is None
    assert stats.noise([spread(0, 1)] * 5) is None
    assert stats.noise([spread(1, 2)] * 2) is None


@pytest.mark.parametrize(
    ("df", "t"), [(3, 3.182), (5, 2.571), (14, 2.145), (30, 2.042), (1000, 1.962)]
)
def test_student_t(df: int, t: float):
    """The expansion agrees with the printed tables to 1 %."""
    assert math.isclose(stats._t_quantile(df), t, rel_tol=0.01)


@pytest.mark.parametrize(
    ("count", "percent", "above"),
    [(1000, 90, 100), (100_000, 99.9, 100), (99_999, 99.9, 99), (200, 50, 100), (0, 50, 0)],
)
def test_samples_above(count: int, percent: float, above: int):
    """Whole samples, not spoilt by 99.9 having no exact binary form."""
    assert stats.samples_above(count, percent) == above
