# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several jobs, that were driven at once, did together: one job in fio's own form. Pure.

IOPS, bandwidth and I/Os add up. Latencies are those of all I/Os: minimum, maximum and mean with
the standard deviation are exact, percentiles come from the added histograms. Where a histogram is
missing there is no percentile: an average of percentiles is none.
"""

# ruff: noqa: B905 (zip's strict is Python 3.10's)

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import (
    merge_bins,
    percentiles_from_bins,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.job_rows import OPTIONS
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.row import (
    DIRECTIONS,
    FioRow,
    Latency,
)

KINDS = ("slat", "clat", "lat")
KIB = 1024

Number = Union[int, float]


def summed_document(rows: Sequence[FioRow], *, job_name: str) -> Dict[str, Any]:
    """Return a document in fio's form with one job that did what all ``rows`` did.

    Args:
        rows: of jobs that ran at the same time with the same options; aggregates among them and
            what is not of a file's last document are left out.
        job_name: the job's name.
    """
    counted = [row for row in rows if row.is_last_document and not row.is_aggregate]
    job: Dict[str, Any] = {"jobname": job_name, "groupid": 0, "error": 0}
    job["job options"] = {
        key: str(getattr(counted[0], key))
        for key in OPTIONS
        if counted and getattr(counted[0], key) is not None
    }
    for direction in DIRECTIONS:
        same = [row for row in counted if row.direction == direction]
        if same:
            job[direction] = _part(same)
    versions = sorted({row.fio_version for row in counted if row.fio_version})
    return {
        "fio version": ", ".join(versions),
        "nvmelab": {"sum_of_jobs": len({(row.file, row.job_index) for row in counted})},
        "jobs": [job],
    }


def _part(rows: Sequence[FioRow]) -> Dict[str, Any]:
    """Return one direction of all the jobs."""
    bandwidth = _sum([row.bw_bytes_per_s for row in rows])
    runtimes = [row.runtime_ms for row in rows if row.runtime_ms is not None]
    values = {
        "io_bytes": _sum([row.io_bytes for row in rows]),
        "bw_bytes": bandwidth,
        "bw": None if bandwidth is None else int(bandwidth) // KIB,
        "iops": _sum([row.iops for row in rows]),
        "runtime": max(runtimes, default=None),
        "total_ios": _sum([row.total_ios for row in rows]),
    }
    part: Dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    for kind in KINDS:
        found = [row.latency(kind) for row in rows]
        latencies = [latency for latency in found if latency is not None]
        if latencies and len(latencies) == len(found):
            part[f"{kind}_ns"] = _latency(latencies, [row.total_ios for row in rows])
    return part


def _sum(values: Sequence[Optional[Number]]) -> Optional[Number]:
    """Return the sum; None when one of them was not measured."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _latency(latencies: Sequence[Latency], totals: Sequence[Optional[int]]) -> Dict[str, Any]:
    """Return the latency of all I/Os; before fio 3.18 all I/Os count as measured."""
    counts = [
        latency.count if latency.count is not None else total or 0
        for latency, total in zip(latencies, totals)
    ]
    total = sum(counts)
    mean = _mean([latency.mean_ns for latency in latencies], counts)
    merged: Dict[str, Any] = {
        "min": min(latency.min_ns for latency in latencies),
        "max": max(latency.max_ns for latency in latencies),
        "mean": mean,
        "stddev": _stddev(latencies, counts, mean),
        "N": total,
    }
    histograms = [latency.bins_ns for latency in latencies]
    if all(histograms):
        bins = merge_bins(histograms)
        percents = sorted({percent for one in latencies for percent in one.percentiles_ns})
        found = percentiles_from_bins(bins, percents)
        if found:
            merged["percentile"] = {f"{percent:.6f}": found[percent] for percent in percents}
        merged["bins"] = {str(value): count for value, count in bins.items()}
    return merged


def _mean(means: Sequence[float], counts: Sequence[int]) -> float:
    total = sum(counts)
    return sum(n * mean for n, mean in zip(counts, means)) / total if total else 0.0


def _stddev(latencies: Sequence[Latency], counts: Sequence[int], mean: float) -> float:
    """Return the deviation of all samples: within each job, and of the jobs from each other."""
    total = sum(counts)
    if total < 2:  # noqa: PLR2004 (one sample deviates from nothing)
        return 0.0
    squares: List[float] = [
        max(0, n - 1) * latency.stddev_ns**2 + n * (latency.mean_ns - mean) ** 2
        for n, latency in zip(counts, latencies)
    ]
    return math.sqrt(sum(squares) / (total - 1))


def jobs_of(rows: Sequence[FioRow]) -> List[Mapping[str, Any]]:
    """Return each job's own figures in short: job, direction, IOPS, mean latency in ns."""
    return [
        {
            "job": row.job_name,
            "direction": row.direction,
            "iops": row.iops,
            "clat_mean_ns": row.clat_mean_ns,
        }
        for row in rows
        if row.is_last_document and not row.is_aggregate
    ]
