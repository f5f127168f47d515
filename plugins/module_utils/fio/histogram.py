# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Latency histograms of fio (``--output-format=json+``): merge them, take percentiles of them.

Pure. A histogram is a dict of bucket value in ns -> number of I/Os, without empty buckets.
Percentiles of several jobs come from their merged histogram; an average of percentiles is
not a percentile.

Source: fio stat.c ``plat_idx_to_val()``, ``calc_clat_percentiles()``; stat.h for the constants.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional

Bins = Dict[int, int]

_BITS_KEY = "FIO_IO_U_PLAT_BITS"
_ALL_PERCENT = 100


def bins_ns(raw: Mapping[str, Any], unit_ns: int) -> Bins:
    """Return fio's ``bins`` object as ns -> count, ascending.

    Args:
        raw: as decoded. fio 2.2.12 to 2.19 writes bucket *indexes*, all 1216 of them, and
            beside them the constants that say so; later ones write values.
        unit_ns: what fio's unit is in ns: 1000 for ``clat``, 1 for ``clat_ns``.
    """
    if _BITS_KEY not in raw:
        pairs = ((int(key), count) for key, count in raw.items() if count)
    else:
        bits = raw[_BITS_KEY]
        pairs = (
            (bucket_value(int(key), bits), count)
            for key, count in raw.items()
            if count and not key.startswith("FIO")
        )
    return {value * unit_ns: count for value, count in sorted(pairs)}


def bucket_value(index: int, bits: int = 6) -> int:
    """Return the value that stands for bucket ``index``, in the unit that fio measured in.

    The first ``2 << bits`` buckets hold one value each. After them every power of two is
    split into ``1 << bits`` buckets, and the middle of the bucket stands for it.
    """
    if index < 2 << bits:
        return index
    error_bits = (index >> bits) - 1
    base = 1 << (error_bits + bits)
    within = index & ((1 << bits) - 1)
    return base + (((2 * within + 1) << error_bits) >> 1)


def merge_bins(histograms: Iterable[Mapping[int, int]]) -> Bins:
    """Return the histogram of all I/Os of all histograms, ascending; ``{}`` of none."""
    merged: Bins = {}
    for histogram in histograms:
        for value, count in histogram.items():
            merged[value] = merged.get(value, 0) + count
    return dict(sorted(merged.items()))


def percentile_from_bins(bins: Mapping[int, int], percent: float) -> Optional[int]:
    """Return the percentile in ns as fio reports it: no interpolation; None of no I/Os.

    It is the lowest bucket value that at least ``percent`` % of all I/Os do not exceed.

    Raises:
        ValueError: ``percent`` is not in (0, 100].
    """
    return percentiles_from_bins(bins, [percent])[percent]


def percentiles_from_bins(
    bins: Mapping[int, int], percents: Iterable[float]
) -> Dict[float, Optional[int]]:
    """Return percent -> ns for each of ``percents``, in their order; see percentile_from_bins."""
    wanted = list(percents)
    for percent in wanted:
        if not 0 < percent <= _ALL_PERCENT:
            raise ValueError(f"percentile {percent}: wanted more than 0, at most {_ALL_PERCENT}")
    found: Dict[float, Optional[int]] = dict.fromkeys(wanted)
    total = sum(bins.values())
    missing: List[float] = sorted(found, reverse=True)
    below = 0
    for value in sorted(bins):
        below += bins[value]
        while missing and below and _reaches(below, total, missing[-1]):
            found[missing.pop()] = value
    return found


def _reaches(below: int, total: int, percent: float) -> bool:
    """Say whether ``below`` of ``total`` I/Os are ``percent`` % of them, as fio counts.

    fio computes in long double, where 99.9 (in truth 99.900000000000006) of 1000 is more than
    999; exact integers agree with it, Python's double would not.
    """
    numerator, denominator = float(percent).as_integer_ratio()
    return below * _ALL_PERCENT * denominator >= numerator * total
