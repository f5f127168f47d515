# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells of a host, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.host import snapshot as host_snapshot

FILES = {
    "proc/sys/kernel/osrelease": "6.1.0-test\n",
    "proc/cmdline": "root=/dev/vda quiet\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: A CPU: fast\nmicrocode\t: 0x2b\n"
    "flags\t\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: Another\n",
    "proc/loadavg": "0.42 0.1 0.0 1/100 4242\n",
    "proc/meminfo": "MemTotal:       2097152 kB\nMemAvailable: 1048576 kB\nHugePages_Total:   8\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "sys/devices/system/cpu/smt/control": "off\n",
    "sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
}


def test_snapshot_of_a_made_up_host(tmp_path: Path) -> None:
    """Every value as the files say it, in the units of its name."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = host_snapshot.snapshot(tmp_path)
    assert found == {
        "kernel": "6.1.0-test",
        "cmdline": "root=/dev/vda quiet",
        "cpu_model": "A CPU: fast",
        "microcode": "0x2b",
        "has_hypervisor_flag": True,
        "cpus_online": "0-3",
        "governors": {"performance": 1, "powersave": 2},
        "boost": False,
        "smt": "off",
        "mitigations": {"meltdown": "Mitigation: PTI"},
        "thp": "madvise",
        "clocksource": None,
        "load_1_min": 0.42,
        "memory_total_mib": 2048,
        "memory_available_mib": 1024,
        "hugepages_total": 8,
    }


def test_host_that_tells_nothing_gives_none(tmp_path: Path) -> None:
    """What is not told is None, never a guess, and no error."""
    assert set(host_snapshot.snapshot(tmp_path).values()) == {None}


def test_boost_of_other_drivers(tmp_path: Path) -> None:
    """Without intel_pstate the generic file counts, which says the opposite of no_turbo."""
    path = tmp_path / "sys/devices/system/cpu/cpufreq/boost"
    path.parent.mkdir(parents=True)
    path.write_text("1\n")
    assert host_snapshot.snapshot(tmp_path)["boost"] is True


def test_this_host_agrees_with_uname() -> None:
    """Against another witness."""
    assert host_snapshot.snapshot()["kernel"] == os.uname().release
