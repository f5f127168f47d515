# SPDX-License-Identifier: GPL-3.0-or-later
"""What moved on a host while it was measured: of each point, and over a whole run. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvmelab import units
from nvmelab.show import wording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nvmelab.show.points import Point
    from nvmelab.store.records import Row

    Get = Callable[[Row], float | None]


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that should have stayed where it was.

    ``low``, ``typical``, ``high`` take it from a row; they are one where a point has one value.
    ``is_worst_low``: the lowest is what to look at.
    """

    name: str
    about: str
    unit: wording.Format
    low: Get
    typical: Get
    high: Get
    is_worst_low: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """A quantity over all points of a run. ``worst``: the point to look at first."""

    quantity: Quantity
    low: float
    typical: float
    high: float
    n: int
    worst: Point

    @property
    def is_still(self) -> bool:
        """Whether every point has the same: there is none to look at first."""
        return self.low == self.high


def moved(points: Sequence[Point]) -> list[Moved]:
    """Return how far each quantity moved over the points; those measured nowhere are left out."""
    found = []
    for quantity in QUANTITIES:
        known = [
            (values, point) for point in points if (values := _values(quantity, point)) is not None
        ]
        if known:
            found.append(_moved(quantity, known))
    return found


def not_measured(points: Sequence[Point]) -> list[str]:
    """Return the names of the quantities that no point has: this host does not tell them."""
    known = {one.quantity.name for one in moved(points)}
    return [quantity.name for quantity in QUANTITIES if quantity.name not in known]


def text(quantity: Quantity, point: Point) -> str:
    """Return the quantity of one point: ``"1.20-3.60 GHz"``, ``"0.5 %"``; a dash if unknown."""
    values = _values(quantity, point)
    if values is None:
        return units.NOT_MEASURED
    low, _, high = values
    return (
        quantity.unit(low) if quantity.unit(low) == quantity.unit(high) else
        wording.between(low, high, quantity.unit)
    )  # fmt: skip


def _moved(quantity: Quantity, known: Sequence[tuple[tuple[float, float, float], Point]]) -> Moved:
    typical = [values[1] for values, _ in known]
    if quantity.is_worst_low:
        worst = min(known, key=lambda one: one[0][1])[1]
    else:
        worst = max(known, key=lambda one: one[0][2])[1]
    return Moved(
        quantity,
        min(values[0] for values, _ in known),
        statistics.median(typical),
        max(values[2] for values, _ in known),
        len(known),
        worst,
    )


def _values(quantity: Quantity, point: Point) -> tuple[float, float, float] | None:
    """Return low, typical, high of the point; its rows all hold the same."""
    if not point.rows:
        return None
    row = point.rows[0]
    low, typical, high = quantity.low(row), quantity.typical(row), quantity.high(row)
    if low is None or typical is None or high is None:
        return None
    return low, typical, high


def _khz(value: float | None) -> str:
    return units.hertz(None if value is None else value * 1e3)


def _count(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else f"{value:,.0f}"


def _celsius(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else f"{value:.0f} °C"


def _one(name: str, about: str, unit: wording.Format, get: Get) -> Quantity:
    return Quantity(name, about, unit, get, get, get)


QUANTITIES = (
    Quantity(
        "CPU frequency",
        "of the CPUs, least to greatest seen during the point",
        _khz,
        lambda row: row.frequency_min_khz,
        lambda row: row.frequency_median_khz,
        lambda row: row.frequency_max_khz,
        is_worst_low=True,
    ),
    _one("throttling", "times that heat made the CPU slow down", _count,
         lambda row: row.throttle_count),
    _one("steal", "CPU time of the host that its hypervisor took", wording.percent,
         lambda row: row.steal_percent),
    _one("load by others", "CPU time of the host that other processes used", wording.percent,
         lambda row: row.other_cpu_percent),
    _one("CPU pressure", "time that some task of the host waited for a CPU", wording.percent,
         lambda row: row.cpu_pressure_percent),
    Quantity(
        "temperature",
        "of the CPU, before and after the point",
        _celsius,
        lambda row: _least(row.temperature_before_c, row.temperature_after_c),
        lambda row: row.temperature_after_c,
        lambda row: _greatest(row.temperature_before_c, row.temperature_after_c),
    ),
)  # fmt: skip


def _least(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else min(one, other)


def _greatest(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)
