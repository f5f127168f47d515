# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole decades around some values, for bars of numbers that differ by powers of ten. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class LogScale(NamedTuple):
    """From ``low`` to ``high``, both powers of ten, in the unit of the values."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        """Return how far along the scale a value lies; what is below or above it is at its end."""
        if value <= self.low:
            return 0.0
        return 100 * min(1.0, math.log(value / self.low) / math.log(self.high / self.low))

    @property
    def decades(self) -> list[float]:
        """Where on it, in percent, the powers of ten between its ends lie."""
        count = round(math.log10(self.high / self.low))
        return [100 * place / count for place in range(1, count)]


def around(values: Iterable[float]) -> LogScale:
    """Return the least scale with all values above 0 on it; it has a decade at least."""
    exponents = [math.log10(value) for value in values if value > 0] or [0.0]
    first, last = math.floor(min(exponents)), math.ceil(max(exponents))
    return LogScale(10.0**first, 10.0 ** max(last, first + 1))
