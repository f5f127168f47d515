# SPDX-License-Identifier: GPL-3.0-or-later
"""Histograms: bucket values, merging, percentiles with fio's own rank."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from fio_test_files import fixture
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import (
    bins_ns,
    bucket_value,
    merge_bins,
    percentile_from_bins,
    percentiles_from_bins,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import rows_from_file

_BINS = st.dictionaries(st.integers(0, 10**9), st.integers(1, 10**6), max_size=20)
_PERCENTS = st.floats(0, 100, exclude_min=True)


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, 0),
        (127, 127),
        (128, 129),  # [128, 130): its middle
        (191, 255),  # [254, 256)
        (192, 258),  # [256, 260)
        (1215, 16_711_680),  # the last of fio 2: [2**24 - 2**17, 2**24)
    ],
)
def test_bucket_values(index: int, value: int):
    """Worked out from plat_idx_to_val(): 64 buckets for each power of two, from 128 on."""
    assert bucket_value(index) == value


def test_bins_by_index_and_by_value():
    """Version 2.12 writes indexes and constants, later ones values; both become ns."""
    raw = {"0": 5, "1": 0, "128": 2, "FIO_IO_U_PLAT_BITS": 6, "FIO_IO_U_PLAT_VAL": 64}
    assert bins_ns(raw, 1000) == {0: 5, 129_000: 2}
    assert bins_ns({"129": 2, "3": 1}, 1000) == {3000: 1, 129_000: 2}
    assert list(bins_ns({"129": 2, "3": 1}, 1)) == [3, 129]


def test_merge_by_hand():
    """Counts of equal buckets add up, in ascending order."""
    assert merge_bins([{30: 1, 10: 2}, {10: 3}, {}]) == {10: 5, 30: 1}
    assert list(merge_bins([{30: 1}, {10: 2}])) == [10, 30]
    assert merge_bins([]) == {}


@given(st.lists(_BINS, max_size=5))
def test_merge_loses_nothing(histograms: list[dict[int, int]]):
    """The count of all I/Os stays, and the order does not matter."""
    merged = merge_bins(histograms)
    assert sum(merged.values()) == sum(sum(h.values()) for h in histograms)
    assert merge_bins(reversed(histograms)) == merged
    assert merge_bins([merged]) == merged


def test_merged_percentile_is_no_average():
    """99 fast and 1 slow I/O, and 100 slow ones: the median is slow, an average would not be."""
    fast, slow = {10: 99, 1000: 1}, {1000: 100}
    assert percentile_from_bins(merge_bins([fast, slow]), 50) == 1000
    assert percentile_from_bins(fast, 50) == 10


@pytest.mark.parametrize(
    ("percent", "value"),
    [(10, 1), (10.1, 2), (50, 5), (99, 10), (100, 10), (1e-9, 1)],
)
def test_rank_by_hand(percent: float, value: int):
    """Of 1 … 10 once each, p% is the ceil(p/10)-th."""
    assert percentile_from_bins(dict.fromkeys(range(1, 11), 1), percent) == value


def test_rank_of_a_double():
    """99.9 as a double is more than 99.9, so of 1000 I/Os fio takes the 1000th."""
    assert percentile_from_bins({1: 999, 2: 1}, 99.9) == 2
    assert percentile_from_bins({1: 999, 2: 1}, 99) == 1
    assert percentile_from_bins({1: 99, 2: 1}, 99) == 1


@given(bins=_BINS, percents=st.lists(_PERCENTS, max_size=5))
def test_rank_by_expansion(bins: dict[int, int], percents: list[float]):
    """Equals the nearest-rank percentile of the expanded list, however many are asked for."""
    found = percentiles_from_bins(bins, percents)
    total = sum(bins.values())
    for percent in percents:
        expected = None
        rank = max(1, math.ceil(Fraction(percent) * total / 100))
        for value in sorted(bins):
            rank -= bins[value]
            if rank <= 0:
                expected = value
                break
        assert found[percent] == expected
        assert percentile_from_bins(bins, percent) == expected


@pytest.mark.parametrize("percent", [0, -1, 100.1, math.nan, math.inf])
def test_percent_out_of_range(percent: float):
    """More than 0, at most 100."""
    with pytest.raises(ValueError, match="wanted more than 0, at most 100"):
        percentile_from_bins({1: 1}, percent)


@pytest.mark.parametrize(
    "name",
    [
        "gen-v2.16-randrw-group.jsonplus.json",
        "gen-v3.33-randrw-group.jsonplus.json",
        "gen-pctl-custom-3.33.jsonplus.json",
        "gen-lat-all-pctl-3.33.jsonplus.json",
        "gen-unified-both-3.33.jsonplus.json",
    ],
)
def test_agrees_with_fio(name: str):
    """From the bins come exactly the percentiles that fio printed beside them."""
    compared = 0
    for row in rows_from_file(fixture(name)):
        for kind in ("slat", "clat", "lat"):
            latency = row.latency(kind)
            if latency and latency.bins_ns:
                printed = latency.percentiles_ns
                assert percentiles_from_bins(latency.bins_ns, printed) == printed
                compared += len(printed)
    assert compared > 0


def test_merge_agrees_with_fio():
    """The mixed row that fio prints has the merged histogram of read and write."""
    read, write, mixed = rows_from_file(fixture("gen-unified-both-3.33.jsonplus.json"))
    assert merge_bins([read.bins, write.bins]) == mixed.bins
