# SPDX-License-Identifier: GPL-3.0-or-later
"""Which readings of a frequency count, and what they come to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fake_sysfs import CPU, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.host import busy_frequency
from ansible_collections.nvmelab.bench.plugins.module_utils.host.busy_frequency import Ticks

# user nice system idle iowait irq softirq steal guest guest_nice; guest is within user
STAT = "cpu 1 1 1 1 1 1 1 1 1 1\ncpu0 10 1 2 80 7 0 1 4 10 1\ncpu12 1 0 0 9 0 0 0 0 0 0\nintr 5\n"


def test_ticks_of_each_cpu() -> None:
    """By hand: guest time is not counted twice, waiting for I/O is idle, sums are left out."""
    assert busy_frequency.cpu_ticks(STAT) == {0: Ticks(105, 87), 12: Ticks(10, 9)}


@pytest.mark.parametrize(
    ("total", "idle", "expected"),
    [(100, 10, [0]), (100, 11, []), (9, 0, []), (10, 1, [0]), (0, 0, [])],
)
def test_busy_is_nine_tenths_of_a_time_that_can_be_told(
    total: int, idle: int, expected: list[int]
) -> None:
    """90 % of at least 10 ticks; a CPU that was not there before tells nothing."""
    before = {0: Ticks(1000, 500)}
    after = {0: Ticks(1000 + total, 500 + idle), 1: Ticks(5000, 0)}
    assert busy_frequency.busy_cpus(before, after) == expected


def test_summary_by_hand() -> None:
    """Median over all readings (1, 2, 3, 6 give 2), least and greatest of each CPU."""
    found = busy_frequency.frequency_summary({1: [3, 2], 0: [6, 1]})
    assert found == {"min": 1, "median": 2, "max": 6, "by_cpu": {"0": [1, 6], "1": [2, 3]}}


@pytest.mark.parametrize("readings", [{}, {0: []}])
def test_no_reading_is_none(readings: dict[int, list[int]]) -> None:
    """Nobody was busy: not measured, which is not 0 kHz."""
    assert busy_frequency.frequency_summary(readings) is None


def test_measured_frequency_is_preferred(tmp_path: Path) -> None:
    """cpuinfo_avg_freq where the kernel has it, else scaling_cur_freq."""
    host = FakeHost(tmp_path).frequency()
    host.put(f"{CPU}/cpufreq/policy1/cpuinfo_avg_freq", "2400000")
    files = busy_frequency.frequency_files(tmp_path)
    names = [Path(files[cpu]).name for cpu in range(4)]
    assert names == ["scaling_cur_freq", "cpuinfo_avg_freq", "scaling_cur_freq", "scaling_cur_freq"]


def test_request_of_a_tickless_cpu_does_not_count(tmp_path: Path) -> None:
    """Its scaling_cur_freq is what was asked for, not what is: left out, unless it is measured."""
    host = FakeHost(tmp_path).frequency()
    host.put(f"{CPU}/nohz_full", "2-3")
    host.put(f"{CPU}/cpufreq/policy3/cpuinfo_avg_freq", "2400000")
    assert sorted(busy_frequency.frequency_files(tmp_path)) == [0, 1, 3]


@pytest.mark.parametrize("text", ["", "(null)"])
def test_host_without_tickless_cpus(tmp_path: Path, text: str) -> None:
    """Both ways in which kernels write an empty list leave all CPUs in."""
    FakeHost(tmp_path).frequency().put(f"{CPU}/nohz_full", text)
    assert sorted(busy_frequency.frequency_files(tmp_path)) == [0, 1, 2, 3]


def test_virtual_machine_tells_no_frequency(tmp_path: Path) -> None:
    """No cpufreq: nothing to read, no error."""
    FakeHost(tmp_path)
    assert busy_frequency.frequency_files(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "<unknown>", "1.5"])
def test_what_is_no_number_is_none(tmp_path: Path, text: str) -> None:
    """A driver that does not know says so in words."""
    (tmp_path / "file").write_text(text)
    assert busy_frequency.small_int(str(tmp_path / "file")) is None
    assert busy_frequency.small_int(str(tmp_path / "absent")) is None


def test_idle_cpu_answers_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN, as cpuinfo_avg_freq gives it, is no reading; the file is closed."""

    def refuse(*_: object) -> bytes:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    (tmp_path / "file").write_text("1\n")
    monkeypatch.setattr(os, "read", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert busy_frequency.small_int(str(tmp_path / "file")) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
