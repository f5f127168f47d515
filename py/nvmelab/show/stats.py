# SPDX-License-Identifier: GPL-3.0-or-later
"""What repetitions say, and no more than that. Pure; imports nothing of nvmelab.

Percentiles are not here: they come of merged histograms, see ``module_utils/fio/histogram.py``.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Fewer values give an interval that only repeats their minimum and maximum.
MIN_FOR_INTERVAL = 5
# With fewer samples above it, a percentile is an anecdote about a few I/Os.
MIN_SAMPLES_ABOVE = 100
_RESAMPLES = 2000
_SEED = 20_260_101
_CONFIDENCE = 0.95
_LEAST_DF = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """n values of one quantity, in its own unit: where they lie and how far they reach.

    ``ci_low``/``ci_high``: bootstrap 95 % interval of the median, ``None`` for n < 5.
    ``mad``: median of the distances from the median, not scaled; 0.0 for n = 1.
    """

    values: tuple[float, ...]
    median: float
    low: float
    high: float
    mad: float
    ci_low: float | None
    ci_high: float | None

    @property
    def n(self) -> int:
        """How many values."""
        return len(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval that a comparison uses: the confidence interval, else least to greatest."""
        if self.ci_low is None or self.ci_high is None:
            return self.low, self.high
        return self.ci_low, self.ci_high


@dataclass(frozen=True, slots=True)
class Difference:
    """``ratio`` = median of the one / median of the other (``None`` when that is 0).

    ``state``: "unknown", one side has a single value, so nothing is known of its spread;
    "none", the intervals overlap, or the medians are closer than the noise: no difference shown;
    "apart", neither is so, but with less than 5 values; "shown", the 95 % intervals of the
    medians are apart.
    """

    ratio: float | None
    state: Literal["unknown", "none", "apart", "shown"]


@dataclass(frozen=True, slots=True)
class Noise:
    """How far repetitions of the same thing lie from each other, pooled over many cells.

    ``sd``: standard deviation of the values' natural logarithms, 0.01 being about 1 %; ``df``: its
    degrees of freedom. Assumes that all cells scatter alike, relative to their size.
    """

    sd: float
    df: int

    def floor(self, n: int, m: int) -> float:
        """Return the log ratio that two medians of n and m values exceed by noise in 5 % of cases.

        Of two values the median is the mean; of more it varies up to sqrt(pi / 2) times as much.
        """
        factor = math.sqrt(math.pi / 2) if max(n, m) > 2 else 1  # noqa: PLR2004
        return _t_quantile(self.df) * self.sd * factor * math.sqrt(1 / n + 1 / m)


def noise(spreads: Iterable[Spread]) -> Noise | None:
    """Return the noise of the repeated ones among the spreads; ``None`` below 3 degrees of freedom.

    A value of 0 or less has no logarithm; its cell is left out.
    """
    squares, df = 0.0, 0
    for one in spreads:
        if one.n > 1 and one.low > 0:
            logs = [math.log(value) for value in one.values]
            squares += statistics.variance(logs) * (one.n - 1)
            df += one.n - 1
    return Noise(math.sqrt(squares / df), df) if df >= _LEAST_DF else None


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return the spread of the measured values; ``None`` when there is none."""
    measured = tuple(float(value) for value in values if value is not None)
    if not measured:
        return None
    middle = statistics.median(measured)
    interval = median_interval(measured)
    return Spread(
        values=measured,
        median=middle,
        low=min(measured),
        high=max(measured),
        mad=statistics.median(abs(value - middle) for value in measured),
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
    )


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the bootstrap 95 % interval of the median; ``None`` below 5 values.

    The same values give the same interval: the resampling has a fixed seed.
    """
    if len(values) < MIN_FOR_INTERVAL:
        return None
    # Sorted, so that the order of the repetitions does not matter. Not for secrets.
    pool, draw = sorted(values), random.Random(_SEED)  # noqa: S311
    medians = sorted(statistics.median(draw.choices(pool, k=len(pool))) for _ in range(_RESAMPLES))
    tail = round((1 - _CONFIDENCE) / 2 * _RESAMPLES)
    return medians[tail], medians[-tail - 1]


def difference(one: Spread, other: Spread, floor: Noise | None = None) -> Difference:
    """Return by how much ``one`` differs from ``other``, and whether that was shown.

    ``floor``: what the run's cells say of its noise. Two ranges of two values each lie apart in
    one case of three by chance alone; the noise of all cells together guards against that.
    """
    ratio = one.median / other.median if other.median else None
    if min(one.n, other.n) < 2:  # noqa: PLR2004
        return Difference(ratio, "unknown")
    (low_1, high_1), (low_2, high_2) = one.interval, other.interval
    if (low_1 <= high_2 and low_2 <= high_1) or _is_noise(ratio, one, other, floor):
        return Difference(ratio, "none")
    tested = one.ci_low is not None and other.ci_low is not None
    return Difference(ratio, "shown" if tested else "apart")


def samples_above(count: int, percent: float) -> int:
    """Return how many of ``count`` samples lie above this percentile."""
    # Rounded first: 1 - 99.9 / 100 is a little less than 0.001 in binary.
    return math.floor(round(count * (100 - percent) / 100, 6))


def _is_noise(ratio: float | None, one: Spread, other: Spread, floor: Noise | None) -> bool:
    if floor is None or ratio is None or ratio <= 0:
        return False
    return abs(math.log(ratio)) <= floor.floor(one.n, other.n)


def _t_quantile(df: int) -> float:
    """Return Student's t at 97.5 %; off by less than 1 % from 3 degrees of freedom on.

    Source: Abramowitz and Stegun, 26.7.5 (expansion around the normal quantile z).
    """
    z = statistics.NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3
