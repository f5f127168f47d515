# SPDX-License-Identifier: GPL-3.0-or-later
"""Percentiles of a cell: of all its repetitions' samples together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import (
    merge_bins,
    percentile_from_bins,
    percentiles_from_bins,
)
from nvmelab.show import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import Bins

# Where the percentile curves are drawn, as far as the samples carry.
CURVE_PERCENTS = (
    *(50, 55, 60, 65, 70, 75, 80, 85, 90, 92, 94, 95, 96, 97, 98, 98.5),
    *(99, 99.2, 99.4, 99.5, 99.6, 99.7, 99.8, 99.85, 99.9, 99.93, 99.95, 99.97, 99.98, 99.99),
)
# Below this many samples above it, a percentile is not shown at all.
_LEAST_ABOVE = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """One percentile of a cell, in ns.

    ``value_ns``: of the merged histograms; of a single repetition without one, fio's own figure;
    ``None`` when not measured, or when the samples do not carry it. ``low_ns``, ``high_ns``: least
    and greatest of the single repetitions'. ``count``: samples behind it, ``None`` if not known.
    ``is_weak``: fewer than 100 samples lie above it.
    """

    percent: float
    value_ns: float | None
    low_ns: float | None
    high_ns: float | None
    n: int
    count: int | None
    is_weak: bool


def latency(
    percent: float, repetitions: Sequence[Bins], reported_ns: Sequence[float | None]
) -> Latency:
    """Return one percentile over the repetitions.

    ``repetitions``: a histogram each, empty where fio printed none; ``reported_ns``: the figure
    that fio printed for each. Figures of several repetitions are never made into one.
    """
    if repetitions and all(repetitions):
        return _from_bins(percent, repetitions)
    known = [value for value in reported_ns if value is not None]
    return Latency(
        percent=percent,
        value_ns=known[0] if len(known) == len(reported_ns) == 1 else None,
        low_ns=min(known, default=None),
        high_ns=max(known, default=None),
        n=len(known),
        count=None,
        is_weak=False,
    )


def _from_bins(percent: float, repetitions: Sequence[Bins]) -> Latency:
    merged = merge_bins(repetitions)
    count = sum(merged.values())
    above = stats.samples_above(count, percent)
    each = [percentile_from_bins(bins, percent) or 0 for bins in repetitions]
    is_carried = above >= _LEAST_ABOVE
    return Latency(
        percent=percent,
        value_ns=percentile_from_bins(merged, percent) if is_carried else None,
        low_ns=min(each) if is_carried else None,
        high_ns=max(each) if is_carried else None,
        n=len(each),
        count=count,
        is_weak=above < stats.MIN_SAMPLES_ABOVE,
    )


def curve(repetitions: Sequence[Bins]) -> tuple[tuple[float, int], ...]:
    """Return (percent, ns) pairs of the merged samples, up to where 100 samples lie above."""
    merged = merge_bins(repetitions)
    count = sum(merged.values())
    carried = [
        percent
        for percent in CURVE_PERCENTS
        if stats.samples_above(count, percent) >= stats.MIN_SAMPLES_ABOVE
    ]
    found = percentiles_from_bins(merged, carried)
    return tuple((percent, value) for percent, value in found.items() if value is not None)
