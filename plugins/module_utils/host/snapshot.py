# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a lab host that a measurement depends on, as the kernel tells it.

Source: proc(5); Documentation/ABI/testing/sysfs-devices-system-cpu; admin-guide/pm/cpufreq.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Optional


def snapshot(root: Path = Path("/")) -> dict[str, Any]:
    """Return the conditions of now; a value that this host does not tell is None, never a guess.

    Args:
        root: where proc and sys are mounted below; another one for tests.
    """
    cpuinfo = _first_cpu(_read(root / "proc/cpuinfo") or "")
    cpu = root / "sys/devices/system/cpu"
    return {
        "kernel": _read(root / "proc/sys/kernel/osrelease"),
        "cmdline": _read(root / "proc/cmdline"),
        "cpu_model": cpuinfo.get("model name"),
        "microcode": cpuinfo.get("microcode"),
        "has_hypervisor_flag": "hypervisor" in cpuinfo["flags"].split()
        if "flags" in cpuinfo
        else None,
        "cpus_online": _read(cpu / "online"),
        "governors": _governors(cpu),
        "boost": _boost(cpu),
        "smt": _read(cpu / "smt/control"),
        "mitigations": _mitigations(cpu / "vulnerabilities"),
        "thp": _chosen(_read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "clocksource": _read(
            root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        "load_1_min": _load(_read(root / "proc/loadavg")),
        **_memory(_read(root / "proc/meminfo") or ""),
    }


def _read(path: Path) -> Optional[str]:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _first_cpu(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _governors(cpu: Path) -> Optional[dict[str, int]]:
    """Return how many CPUs use each governor; None where frequencies are not ours to set."""
    counts: dict[str, int] = {}
    for path in sorted(cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")):
        name = _read(path)
        if name:
            counts[name] = counts.get(name, 0) + 1
    return counts or None


def _boost(cpu: Path) -> Optional[bool]:
    forbidden = _read(cpu / "intel_pstate/no_turbo")
    if forbidden is not None:
        return forbidden == "0"
    allowed = _read(cpu / "cpufreq/boost")
    return None if allowed is None else allowed == "1"


def _mitigations(folder: Path) -> Optional[dict[str, str]]:
    if not folder.is_dir():
        return None
    found = {name: _read(folder / name) for name in sorted(os.listdir(folder))}  # noqa: PTH208
    return {name: text for name, text in found.items() if text is not None}


def _chosen(text: Optional[str]) -> Optional[str]:
    """Return the word in brackets of e.g. ``always [madvise] never``."""
    found = re.search(r"\[(\w+)\]", text or "")
    return found[1] if found else None


def _load(text: Optional[str]) -> Optional[float]:
    return float(text.split()[0]) if text else None


def _memory(text: str) -> dict[str, Optional[int]]:
    kib = {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}
    wanted = {"memory_total_mib": "MemTotal", "memory_available_mib": "MemAvailable"}
    found: dict[str, Optional[int]] = {
        name: kib[key] // 1024 if key in kib else None for name, key in wanted.items()
    }
    found["hugepages_total"] = kib.get("HugePages_Total")
    return found
