# SPDX-License-Identifier: GPL-3.0-or-later
"""Real outputs of SPDK's own clients become rows; whatever is no result is refused.

The fixtures were printed by SPDK v25.05: bdevperf on a bdev_delay over a bdev_null (so that there
are few I/Os), spdk_nvme_perf over vfio-user with ``-d 200``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.client import output
from ansible_collections.nvmelab.bench.plugins.module_utils.client.output import ClientOutputError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.row import ROW_KEYS, FioRow

FIXTURES = Path(__file__).resolve().parents[4] / "fixtures" / "client"
BDEVPERF = (FIXTURES / "bdevperf-v25.05.txt").read_text("utf-8")
NVME_PERF = (FIXTURES / "spdk_nvme_perf-v25.05.txt").read_text("utf-8")
OPTIONS = {"rw": "randread", "bs": "512", "iodepth": 1, "runtime": 1, "time_based": 1}


def row(client: str, text: str, **options: object) -> FioRow:
    """The row of an output."""
    return output.row_of(client, text, {**OPTIONS, **options}, file="points/0001.out")


def test_nvme_perf_is_read_as_it_was_printed() -> None:
    """IOPS as printed, I/Os by the histogram's counts, time by both, percentiles from -L."""
    found = row("spdk_nvme_perf", NVME_PERF)
    assert found.iops == 30830.89
    assert found.total_ios == 200  # -d 200
    assert found.io_bytes == 200 * 512
    assert found.bw_bytes_per_s == int(30830.89 * 512)
    assert found.runtime_ms == round(200 / 30830.89 * 1000)
    latency = found.latency("lat")
    assert latency is not None
    assert (latency.count, latency.min_ns, latency.max_ns) == (200, 860, 6267470)
    assert latency.percentile_ns(50) == 997
    assert found.lat_mean_ns == pytest.approx(32410, abs=5.01)


def test_bdevperf_is_read_as_it_was_printed() -> None:
    """Its columns are others, and its lines begin with a carriage return."""
    found = row("bdevperf", BDEVPERF, bs="4k", rw="write")
    assert (found.iops, found.direction, found.bs) == (142.98, "write", "4k")
    assert found.io_bytes == found.total_ios * 4096  # type: ignore[operator]
    assert found.lat_mean_ns == pytest.approx(6992780, abs=5.01)
    latency = found.latency("lat")
    assert latency is not None
    assert latency.percentile_ns(50) == 3453243
    assert sum(latency.bins_ns.values()) == found.total_ios


@pytest.mark.parametrize(
    ("client", "text"), [("bdevperf", BDEVPERF), ("spdk_nvme_perf", NVME_PERF)]
)
def test_columns_are_those_of_fio_and_null_where_not_known(client: str, text: str) -> None:
    """The same keys as a row of fio; what such a client does not tell is None, never 0."""
    values = row(client, text).as_dict()
    assert tuple(values) == ROW_KEYS
    unknown = {"slat_mean_ns", "clat_mean_ns", "clat_stddev_ns", "clat_p50_ns", "clat_p99_ns"}
    unknown |= {"clat_p99_9_ns", "error", "fio_version", "ioengine", "group_id", "hostname"}
    assert {name for name, value in values.items() if value is None} == unknown


def test_mean_is_finer_than_the_printed_one() -> None:
    """The histogram tells the mean to the ns where two decimals of a µs would lose 10 % of it."""
    text = NVME_PERF.replace("15.05      32.41", "15.05       0.05")
    buckets = "".join(
        f"    {start / 1000:.3f} -     {(start + 1) / 1000:.3f}:  {percent}%  (       10)\n"
        for start, percent in ((50, "50.0000"), (52, "100.0000"))
    )
    head = text[: text.index("Cumulative    IO count\n") + len("Cumulative    IO count\n")]
    assert row("spdk_nvme_perf", head + buckets).lat_mean_ns == pytest.approx(51.5)


@pytest.mark.parametrize(
    ("client", "text"), [("bdevperf", BDEVPERF), ("spdk_nvme_perf", NVME_PERF)]
)
@given(data=st.data())
def test_output_cut_anywhere_is_refused(client: str, text: str, data: st.DataObject) -> None:
    """What is cut before the end of the histogram is no result, wherever."""
    end = text.rindex("100.0000%")
    length = data.draw(st.integers(0, end))
    with pytest.raises(ClientOutputError, match=r"^points/0001\.out: "):
        row(client, text[:length])


@pytest.mark.parametrize(
    ("client", "text", "cause"),
    [
        ("bdevperf", "", "no line Total"),
        (
            "bdevperf",
            (FIXTURES / "bdevperf-v25.05-absent.txt").read_text("utf-8"),
            "found 0 latency histograms",
        ),
        (
            "spdk_nvme_perf",
            (FIXTURES / "spdk_nvme_perf-v25.05-nothing.txt").read_text("utf-8"),
            "no line Total",
        ),
        (
            "bdevperf",
            BDEVPERF.replace(
                "0.07       0.00     0.00    6992", "0.07       7.00     0.00    6992"
            ),
            "7 I/Os a second failed or timed out",
        ),
        ("spdk_nvme_perf", NVME_PERF + NVME_PERF, "found 2 latency histograms, wanted one"),
        ("bdevperf", NVME_PERF, "found 5 numbers in line Total, wanted 7"),
        ("spdk_nvme_perf", NVME_PERF.replace(" 30830.89 ", "     0.00 "), "did no I/O"),
    ],
)
def test_what_is_no_result_is_refused(client: str, text: str, cause: str) -> None:
    """No histogram, failed I/Os, several jobs, another program: each is named."""
    with pytest.raises(ClientOutputError, match=cause):
        row(client, text)


def test_no_controllers_are_a_failure_though_the_exit_code_is_0() -> None:
    """spdk_nvme_perf without subnqn ends well and says on stderr that it found nothing."""
    said = (FIXTURES / "spdk_nvme_perf-v25.05-nothing.err").read_text("utf-8")
    cause = "No valid NVMe controllers or AIO or URING devices found"
    assert output.cause_of_nothing(said) == cause
    assert output.cause_of_nothing("Initialization complete\n") is None
