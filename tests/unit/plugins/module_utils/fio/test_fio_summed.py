# SPDX-License-Identifier: GPL-3.0-or-later
"""The sum of jobs: what adds up adds up, and percentiles are those of all I/Os together."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils import fio_output
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.summed import (
    jobs_of,
    summed_document,
)

FIXTURES = Path(__file__).resolve().parents[4] / "fixtures" / "fio"


def job(name: str, samples: list[int], *, with_bins: bool = True) -> dict[str, Any]:
    """A job of fio's whose reads took so many ns each, in one second."""
    bins = {str(value): samples.count(value) for value in sorted(set(samples))}
    latency = {
        "min": min(samples),
        "max": max(samples),
        "mean": statistics.fmean(samples),
        "stddev": statistics.stdev(samples) if len(samples) > 1 else 0.0,
        "N": len(samples),
    }
    if with_bins:
        latency["percentile"] = {"50.000000": 0, "99.000000": 0}  # what fio says of one job
        latency["bins"] = bins
    return {
        "jobname": name,
        "groupid": 0,
        "error": 0,
        "job options": {"rw": "randread", "iodepth": "4"},
        "read": {
            "io_bytes": 512 * len(samples),
            "bw_bytes": 512 * len(samples),
            "iops": float(len(samples)),
            "runtime": 1000,
            "total_ios": len(samples),
            "clat_ns": latency,
            "lat_ns": {key: latency[key] for key in ("min", "max", "mean", "stddev", "N")},
        },
    }


def rows_of(*jobs: dict[str, Any]) -> list[fio_output.FioRow]:
    """What the reader makes of a document with these jobs."""
    return fio_output.rows_from_text(json.dumps({"fio version": "fio-3.40", "jobs": list(jobs)}))


def summed(*jobs: dict[str, Any]) -> list[fio_output.FioRow]:
    """The rows of the sum, read again as everybody reads them."""
    return fio_output.rows_from_text(json.dumps(summed_document(rows_of(*jobs), job_name="all")))


# Values that have a bucket each, so that the histogram is exact.
SAMPLES = st.lists(st.integers(1, 100), min_size=1, max_size=30)


@given(jobs=st.lists(SAMPLES, min_size=1, max_size=5))
def test_the_sum_is_that_of_all_samples(jobs: list[list[int]]) -> None:
    """Against the statistics of all samples of all jobs in one list."""
    every = sorted(value for samples in jobs for value in samples)
    (row,) = summed(*(job(f"j{number}", samples) for number, samples in enumerate(jobs)))
    assert row.iops == row.total_ios == len(every)
    assert (row.bw_bytes_per_s, row.io_bytes) == (512 * len(every), 512 * len(every))
    latency = row.latency()
    assert latency is not None
    assert (latency.count, latency.min_ns, latency.max_ns) == (len(every), every[0], every[-1])
    assert latency.mean_ns == pytest.approx(statistics.fmean(every))
    wanted = statistics.stdev(every) if len(every) > 1 else 0.0
    assert latency.stddev_ns == pytest.approx(wanted, abs=1e-6)
    assert row.clat_p50_ns == every[math.ceil(len(every) / 2) - 1]
    assert row.clat_p99_ns == every[math.ceil(len(every) * 0.99) - 1]
    assert sum(latency.bins_ns.values()) == len(every)


def test_percentiles_are_not_averaged() -> None:
    """By hand: 99 fast I/Os of one job and one slow of another: the median is fast."""
    (row,) = summed(job("fast", [10] * 99), job("slow", [100]))
    assert (row.clat_p50_ns, row.clat_p99_ns) == (10, 10)
    assert row.clat_mean_ns == pytest.approx(10.9)


def test_without_all_histograms_there_is_no_percentile() -> None:
    """One job without bins leaves the mean, which is exact, and nothing that would be guessed."""
    (row,) = summed(job("a", [10, 20]), job("b", [30], with_bins=False))
    assert row.clat_mean_ns == 20
    assert row.clat_p99_ns is None
    assert row.bins == {}


def test_what_one_job_did_not_measure_is_not_measured() -> None:
    """A sum over half of the jobs would be taken for the whole."""
    blind = job("b", [30])
    del blind["read"]["clat_ns"], blind["read"]["iops"]
    (row,) = summed(job("a", [10]), blind)
    assert (row.iops, row.clat_mean_ns, row.lat_mean_ns) == (None, None, 20)


def test_directions_stay_apart_and_options_are_kept() -> None:
    """A job that only writes adds nothing to the reads."""
    writer = job("w", [50])
    writer["write"] = writer.pop("read")
    read, write = summed(job("r", [10]), writer)
    assert (read.direction, read.iops, write.direction, write.iops) == ("read", 1, "write", 1)
    assert (read.job_name, read.rw, read.iodepth) == ("all", "randread", 4)


def test_real_output_of_one_job_is_its_own_sum() -> None:
    """Real output of fio 3.33 and its sum agree in every figure that is printed."""
    rows = fio_output.rows_from_file(FIXTURES / "gen-lat-all-pctl-3.33.jsonplus.json")
    again = fio_output.rows_from_text(json.dumps(summed_document(rows, job_name="x")))
    for one, other in zip(rows, again, strict=True):
        for name in ("iops", "bw_bytes_per_s", "total_ios", "runtime_ms", "slat_mean_ns"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))
        assert one.percentiles == other.percentiles
        assert (one.clat_p99_ns, one.lat_p99_ns) == (other.clat_p99_ns, other.lat_p99_ns)


def test_each_jobs_own_figures_are_told() -> None:
    """In short, for the record of the point."""
    told = jobs_of(rows_of(job("a", [10]), job("b", [10, 30])))
    assert told == [
        {"job": "a", "direction": "read", "iops": 1.0, "clat_mean_ns": 10.0},
        {"job": "b", "direction": "read", "iops": 2.0, "clat_mean_ns": 20.0},
    ]
