# SPDX-License-Identifier: GPL-3.0-or-later
"""Options → fio's command line."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.job import FioJobError


def test_command_of_a_point() -> None:
    """Worked out by hand: format first, then the job's name, the device, the guard, the options."""
    options = {"rw": "randread", "bs": "4k", "iodepth": 16, "direct": True, "norandommap": None}
    assert fio_job.argv(options, "/dev/vda", name="virtio-blk") == [
        "fio",
        "--output-format=json+",
        "--name=virtio-blk",
        "--filename=/dev/vda",
        "--readonly",
        "--percentile_list=" + fio_job.PERCENTILES,
        "--rw=randread",
        "--bs=4k",
        "--iodepth=16",
        "--direct=1",
        "--norandommap",
    ]


def test_percentiles_that_people_ask_for_are_there() -> None:
    """50, 90, 99, 99.9 and 99.99 are printed unless the workload names its own list."""
    assert {"50", "90", "99", "99.9", "99.99"} <= set(fio_job.PERCENTILES.split(":"))
    own = fio_job.argv({"rw": "read", "percentile_list": [50, 99.9]}, None)
    assert [word for word in own if "percentile" in word] == ["--percentile_list=50:99.9"]


def test_colon_in_a_file_name_is_escaped() -> None:
    """Fio would read two files out of a PCI address or a by-path name."""
    words = fio_job.argv({"rw": "read"}, "/dev/disk/by-path/pci-0000:00:10.0")
    assert "--filename=/dev/disk/by-path/pci-0000\\:00\\:10.0" in words


@pytest.mark.parametrize(
    ("mode", "is_read_only"),
    [
        *[("read", True), ("randread", True), ("randread:8", True)],
        *[("write", False), ("randwrite", False), ("rw", False), ("randrw", False)],
        *[("readwrite", False), ("trim", False), ("randtrim", False), ("trimwrite", False)],
    ],
)
def test_only_pure_reads_are_read_only(mode: str, *, is_read_only: bool) -> None:
    """Whatever writes or trims a block is not given to fio as --readonly."""
    assert fio_job.is_read_only({"rw": mode}) is is_read_only
    assert ("--readonly" in fio_job.argv({"rw": mode}, "/dev/x")) is is_read_only


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.2, "200ms"), ("0.2", "200ms"), (1.5, "1500ms"), (2.0, "2s"), (0.0005, "500us"), (3, "3")],
)
def test_fraction_of_a_second_is_written_in_a_smaller_unit(value: Any, word: str) -> None:
    """Fio reads runtime=0.5 as 0 without a word."""
    assert f"--runtime={word}" in fio_job.argv({"rw": "read", "runtime": value}, None)


@given(st.integers(min_value=1, max_value=10**10))
def test_time_that_fio_gets_is_the_time_meant(microseconds: int) -> None:
    """Property: rendering and reading a time give the same time."""
    words = fio_job.argv({"rw": "read", "ramp_time": microseconds / 1e6}, None)
    rendered = words[-1].partition("=")[2]
    assert fio_job.seconds_of(rendered) == pytest.approx(microseconds / 1e6)


@pytest.mark.parametrize("key", ["filename", "output", "output-format", "name", "server"])
def test_options_of_the_executor_are_refused(key: str) -> None:
    """A workload cannot redirect the output or the target; the message names the option."""
    with pytest.raises(FioJobError, match=key):
        fio_job.argv({"rw": "read", key: "x"}, None)


def test_value_that_is_no_value_is_refused() -> None:
    """A nested value names key, value found and value wanted."""
    with pytest.raises(FioJobError, match=r"'bs': found \{'a': 1\} \(dict\), wanted a number"):
        fio_job.argv({"rw": "read", "bs": {"a": 1}}, None)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"time_based": 1, "runtime": 2}, 2.0),
        ({"time_based": True, "runtime": "500ms"}, 0.5),
        ({"time_based": None, "runtime": "1m"}, 60.0),
        ({"runtime": 2}, None),
        ({"time_based": 1}, None),
        ({"time_based": 1, "runtime": "soon"}, None),
    ],
)
def test_runtime_is_known_where_time_ends_the_job(
    options: dict[str, Any], seconds: float | None
) -> None:
    """Without time_based the size may end the job earlier, so no runtime can be asked for."""
    assert fio_job.runtime_s(options) == seconds


@pytest.mark.parametrize(("text", "count"), [(16, 16), ("1k", 1024), ("0x10", 16), ("2KiB", 2048)])
def test_numbers_are_read_as_fio_reads_them(text: object, count: int) -> None:
    """By fio's HOWTO, "Parameter types": k is 1024, 0x is base 16."""
    assert fio_job.count_of(text) == count


def test_inflight_count_defaults_to_fios() -> None:
    """Iodepth and numjobs are 1 when absent."""
    assert fio_job.inflight_count({}) == 1
    assert fio_job.inflight_count({"iodepth": "16", "numjobs": 2}) == 32


@pytest.mark.skipif(not shutil.which("fio"), reason="needs fio")
def test_real_fio_runs_as_long_as_asked() -> None:
    """Fio itself agrees: half a second is half a second, with json+ on stdout and no banner."""
    options = {"rw": "randread", "ioengine": "null", "size": "1g", "time_based": True}
    command = fio_job.argv({**options, "runtime": 0.5}, None)
    done = subprocess.run(command, capture_output=True, check=True)
    read = json.loads(done.stdout)["jobs"][0]["read"]
    assert 490 <= read["runtime"] < 1000
    assert read["clat_ns"]["bins"]


def test_command_of_several_devices() -> None:
    """One process, a job for each device; options stand once, before them, and hold for all."""
    options = {"rw": "randread", "iodepth": 4, "group_reporting": 1}
    words = fio_job.argv_of_jobs(options, {"d_1": "/dev/vda", "d_2": "0000:00:05.0"}, fio="f")
    head, jobs = words[: words.index("--name=d_1")], words[words.index("--name=d_1") :]
    assert head[:4] == ["f", "--output-format=json+", "--readonly", "--name=global"]
    assert {"--rw=randread", "--iodepth=4"} <= set(head)
    assert not any("group_reporting" in word for word in words)
    assert jobs == [
        *("--name=d_1", "--filename=/dev/vda"),
        *("--name=d_2", "--filename=0000\\:00\\:05.0"),
    ]
