# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""At which frequency the CPUs run that have work to do.

What an idle CPU reads proves nothing: the kernel shows the last request, or the least frequency.
So a reading counts only when its CPU was busy all the time before it. A CPU without a tick
(``nohz_full``) has no fresh sample either, and ``scaling_cur_freq`` then shows the request;
``cpuinfo_avg_freq`` says EAGAIN instead, so that one is preferred where the kernel has it.

Source: arch/x86/kernel/cpu/aperfmperf.c arch_freq_get_on_cpu(); Documentation/admin-guide/pm/
cpufreq.rst; proc(5), /proc/stat.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list

if TYPE_CHECKING:
    from pathlib import Path

BUSY_RATIO_MIN = 0.9
# Fewer clock ticks than this tell no share.
TICKS_MIN = 10
CPU_WORDS = 9  # the name and what has been counted since Linux 2.6.11: user … steal


@dataclass(frozen=True)
class Ticks:
    """Clock ticks of one CPU since boot."""

    total: int
    idle: int  # waiting for I/O is idle too


def small_text(path: str) -> Optional[str]:
    """Return what a small file of the kernel holds, None when it cannot be read.

    In three system calls: it is called for many files while others are being measured.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(handle, 4096).decode("ascii", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(handle)


def small_int(path: str) -> Optional[int]:
    """Return the number that a small file of the kernel holds, None when it holds none."""
    text = small_text(path)
    return int(text) if text and text.lstrip("-").isdigit() else None


def frequency_files(system: Path) -> dict[int, str]:
    """Return by CPU which file tells its frequency; empty where the host does not tell."""
    cpus = system / "sys/devices/system/cpu"
    tickless = _tickless(cpus)
    files: dict[int, str] = {}
    for folder in sorted(cpus.glob("cpu[0-9]*/cpufreq")):
        cpu = int(folder.parent.name[len("cpu") :])
        measured = folder / "cpuinfo_avg_freq"
        if measured.exists():
            files[cpu] = str(measured)
        elif cpu not in tickless:
            files[cpu] = str(folder / "scaling_cur_freq")
    return files


def _tickless(cpus: Path) -> set[int]:
    try:
        return set(parse_cpu_list(small_text(str(cpus / "nohz_full")) or ""))
    except BadInputError:  # empty, or "(null)"
        return set()


def cpu_ticks(stat_text: str) -> dict[int, Ticks]:
    """Return the ticks of each CPU from the text of /proc/stat."""
    found: dict[int, Ticks] = {}
    for line in stat_text.splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0] != "cpu":
            numbers = [int(word) for word in words[1:CPU_WORDS]]
            found[int(words[0][len("cpu") :])] = Ticks(sum(numbers), numbers[3] + numbers[4])
    return found


def busy_cpus(before: Mapping[int, Ticks], after: Mapping[int, Ticks]) -> list[int]:
    """Return the CPUs that had work nearly all the time between, sorted."""
    busy = []
    for cpu in sorted(set(before) & set(after)):
        total = after[cpu].total - before[cpu].total
        idle = after[cpu].idle - before[cpu].idle
        if total >= TICKS_MIN and total - idle >= BUSY_RATIO_MIN * total:
            busy.append(cpu)
    return busy


def frequency_summary(readings: Mapping[int, Iterable[int]]) -> Optional[dict[str, object]]:
    """Return ``min``, ``median``, ``max`` in kHz, and ``by_cpu`` the least and greatest of each.

    Args:
        readings: by CPU. None without any: not measured.
    """
    by_cpu = {cpu: sorted(values) for cpu, values in sorted(readings.items())}
    values = [value for each in by_cpu.values() for value in each]
    if not values:
        return None
    return {
        "min": min(values),
        "median": int(statistics.median(values)),
        "max": max(values),
        "by_cpu": {str(cpu): [each[0], each[-1]] for cpu, each in by_cpu.items() if each},
    }
