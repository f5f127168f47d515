# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what bdevperf and spdk_nvme_perf print into rows of the same columns as fio's; pure.

Both print text: a line ``Total`` with IOPS and latencies in µs to two decimals, and with ``-l -l``
or ``-L -L`` the percentiles and the whole histogram. Of bdevperf the RPC ``perform_tests`` would
give JSON, but without any percentile, and it needs a second connection that can fail on its own;
the text needs none, and its histogram tells the mean more exactly than the two decimals do.

What they measure goes from the submission to the completion: that is fio's ``lat``. There is no
``clat`` in their rows, for they do not tell the two apart.

Source: SPDK v25.05, perf.c ``print_performance()``, bdevperf.c ``bdevperf_test_done()``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.row import FioRow

NS_PER_US = 1000
# Half of the last decimal that they print a mean with.
_MEAN_HALF_STEP_NS = 5.0
_NUMBER = r"[0-9]+\.[0-9]+"
_TOTAL = re.compile(rf"^\s*Total\s*:((?:\s+{_NUMBER})+)\s*$", re.MULTILINE)
_PERCENTILE = re.compile(rf"^\s*({_NUMBER})% :\s+({_NUMBER})us\s*$", re.MULTILINE)
_BUCKET = re.compile(
    rf"^\s*({_NUMBER}) -\s+({_NUMBER}):\s+({_NUMBER})%\s+\(\s*([0-9]+)\)\s*$", re.MULTILINE
)
# Whose histogram begins here; several would be several jobs.
_HISTOGRAMS = {
    workload.BDEVPERF: re.compile(r"^\s*Latency histogram\s*$", re.MULTILINE),
    workload.NVME_PERF: re.compile(r"^Latency histogram for .* from core\s+[0-9]+:$", re.MULTILINE),
}
_COLUMNS = {
    workload.BDEVPERF: ("iops", "mib_per_s", "failed", "timed_out", "mean_us", "min_us", "max_us"),
    workload.NVME_PERF: ("iops", "mib_per_s", "mean_us", "min_us", "max_us"),
}
# Said before an end with exit code 0: the transport id led to no controller.
_NOTHING = "No valid NVMe controllers or AIO or URING devices found"


class ClientOutputError(NvmelabError):
    """What a client printed is no result."""


@dataclass(frozen=True)
class Result:
    """What a client measured; of the workload it says nothing that can be relied on."""

    client: str
    file: str
    iops: float
    count: int
    lat_ns: Mapping[str, Any]  # as fio's JSON has it

    def row(self, options: Mapping[str, Any]) -> FioRow:
        """Return the row; ``options`` are the point's, and tell direction and block size."""
        asked = workload.workload_of(self.client, options)
        return FioRow.of(
            {
                **_constants(self.file, options),
                "direction": workload.direction_of(asked.rw)[0],
                "iops": self.iops,
                "bw_bytes_per_s": int(self.iops * asked.bs_bytes),
                "io_bytes": self.count * asked.bs_bytes,
                "total_ios": self.count,
                "runtime_ms": round(self.count / self.iops * 1000),
                "lat_mean_ns": self.lat_ns["mean"],
                "lat_p99_ns": self.lat_ns["percentile"].get("99.000000"),
                "part": {"lat_ns": self.lat_ns},
            }
        )


@dataclass(frozen=True)
class _Bucket:
    middle_ns: float
    count: int


def result_of(client: str, text: str, *, file: str) -> Result:
    """Return what a client's output says.

    Args:
        client: ``bdevperf`` or ``spdk_nvme_perf``.
        text: what it wrote to stdout.
        file: the output's name, for messages.

    Raises:
        ClientOutputError: it is cut short, tells of failed I/Os or of none.
    """
    total = _total(client, text, file)
    buckets = _histogram(client, text, file)
    count = sum(bucket.count for bucket in buckets)
    if not total["iops"] or not count:
        raise ClientOutputError(f"{file}: {client} ended well but did no I/O")
    return Result(client, file, total["iops"], count, _latency(total, buckets, count, text))


def row_of(client: str, text: str, options: Mapping[str, Any], *, file: str) -> FioRow:
    """Return the one row of a client's output; see :func:`result_of` and :meth:`Result.row`."""
    return result_of(client, text, file=file).row(options)


def _constants(file: str, options: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what is the same in each of their rows; what they do not tell is None."""
    unknown = ("slat_mean_ns", "clat_mean_ns", "clat_stddev_ns", "clat_p50_ns", "clat_p99_ns")
    more = ("clat_p99_9_ns", "error", "group_id", "hostname", "fio_version", "ioengine")
    return {
        **dict.fromkeys((*unknown, *more)),
        "file": file,
        "document": 0,
        "is_last_document": True,
        "is_aggregate": False,
        "job_name": "point",
        "job_index": 0,
        **{name: options.get(name) for name in ("rw", "bs", "iodepth")},
        "numjobs": 1,
    }


def _total(client: str, text: str, file: str) -> Dict[str, float]:
    found = _TOTAL.findall(text)
    if not found:
        raise ClientOutputError(
            f"{file}: {client}: no line Total with numbers: it was cut short, or did no I/O"
        )
    numbers = [float(word) for word in found[-1].split()]
    names = _COLUMNS[client]
    if len(numbers) != len(names):
        raise ClientOutputError(
            f"{file}: {client}: found {len(numbers)} numbers in line Total, wanted {len(names)}: "
            "this version of SPDK prints otherwise"
        )
    total = {name: numbers[place] for place, name in enumerate(names)}
    failed = total.get("failed", 0.0) + total.get("timed_out", 0.0)
    if failed:
        raise ClientOutputError(f"{file}: {client}: {failed:g} I/Os a second failed or timed out")
    return total


def _histogram(client: str, text: str, file: str) -> List[_Bucket]:
    """Return the last job's buckets, in ns; refuse a histogram that does not reach its end."""
    starts = [one.end() for one in _HISTOGRAMS[client].finditer(text)]
    if len(starts) != 1:
        raise ClientOutputError(
            f"{file}: {client}: found {len(starts)} latency histograms, wanted one: "
            "it was cut short, or ran several jobs"
        )
    lines = _BUCKET.findall(text, starts[0])
    if not lines or float(lines[-1][2]) < 100.0:  # noqa: PLR2004  (percent)
        raise ClientOutputError(f"{file}: {client}: its latency histogram is cut short")
    return [
        _Bucket((float(start) + float(end)) / 2 * NS_PER_US, int(count))
        for start, end, _, count in lines
    ]


def _latency(
    total: Mapping[str, float], buckets: List[_Bucket], count: int, text: str
) -> Dict[str, Any]:
    """Return the latency in the shape that fio's JSON has, in ns."""
    bins: Dict[int, int] = {}
    for bucket in buckets:
        value = round(bucket.middle_ns)
        bins[value] = bins.get(value, 0) + bucket.count
    return {
        "min": round(total["min_us"] * NS_PER_US),
        "max": round(total["max_us"] * NS_PER_US),
        "mean": _mean_ns(total["mean_us"] * NS_PER_US, buckets, count),
        "N": count,
        "percentile": dict(_percentiles(text)),
        "bins": bins,
    }


def _mean_ns(printed_ns: float, buckets: List[_Bucket], count: int) -> float:
    """Return the histogram's mean where it is one that the printed one may have been rounded from.

    A bucket is one tick of the clock below 128 of them, and at most 0.8 % wide above.
    """
    exact = sum(bucket.middle_ns * bucket.count for bucket in buckets) / count
    return min(max(exact, printed_ns - _MEAN_HALF_STEP_NS), printed_ns + _MEAN_HALF_STEP_NS)


def _percentiles(text: str) -> List[Tuple[str, int]]:
    """Return fio's keys -> ns; a bucket's upper end, as these programs give it."""
    return [
        (f"{float(percent):.6f}", round(float(value) * NS_PER_US))
        for percent, value in _PERCENTILE.findall(text)
    ]


def cause_of_nothing(stderr: str) -> Optional[str]:
    """Return why a client that ended with exit code 0 measured nothing, where it says so."""
    return _NOTHING if _NOTHING in stderr else None
