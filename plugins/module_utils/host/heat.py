# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the CPUs grew hot or were slowed down for it.

Source: Linux Documentation/admin-guide/thermal, Documentation/hwmon/{coretemp,k10temp}.rst,
arch/x86/kernel … thermal_throttle (drivers/thermal/intel/therm_throt.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.busy_frequency import (
    small_int,
    small_text,
)

if TYPE_CHECKING:
    from pathlib import Path

CPU_HWMONS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
# One sensor speaks for a package: each read of a core's interrupts that core.
PACKAGE_LABELS = ("Package id", "Tctl", "Tdie", "Physical id")
CPU_ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc_thermal")
# A threshold that no CPU has is a driver's default, not a limit.
CRITICAL_C_MAX = 150.0


@dataclass(frozen=True)
class Thermometer:
    """The file of one package's temperature, in millidegrees, and its critical one."""

    input_path: str
    critical_c: Optional[float]

    def read_c(self) -> Optional[float]:
        """Return the temperature in degrees Celsius."""
        value = small_int(self.input_path)
        return None if value is None else value / 1000


def thermometers(system: Path) -> list[Thermometer]:
    """Return the CPU's thermometers, one a package: of hwmon, else of the thermal zones."""
    found = []
    for chip in sorted((system / "sys/class/hwmon").glob("hwmon*")):
        if small_text(str(chip / "name")) in CPU_HWMONS:
            found += _of_chip(chip)
    return found or _of_zones(system)


def _of_chip(chip: Path) -> list[Thermometer]:
    inputs = sorted(chip.glob("temp*_input"), key=lambda path: (len(path.name), path.name))
    labels = {path: small_text(str(path).replace("_input", "_label")) or "" for path in inputs}
    packages = [path for path in inputs if labels[path].startswith(PACKAGE_LABELS)]
    return [
        Thermometer(str(path), _critical(small_int(str(path).replace("_input", "_crit"))))
        for path in (packages or inputs)[:1]
    ]


def _of_zones(system: Path) -> list[Thermometer]:
    return [
        Thermometer(str(zone / "temp"), _critical(_zone_critical(zone)))
        for zone in sorted((system / "sys/class/thermal").glob("thermal_zone*"))
        if small_text(str(zone / "type")) in CPU_ZONES
    ]


def _zone_critical(zone: Path) -> Optional[int]:
    for kind in sorted(zone.glob("trip_point_*_type")):
        if small_text(str(kind)) == "critical":
            return small_int(str(kind).replace("_type", "_temp"))
    return None


def _critical(value_mc: Optional[int]) -> Optional[float]:
    value = None if value_mc is None else value_mc / 1000
    return value if value and 0 < value <= CRITICAL_C_MAX else None


def hottest(all_: list[Thermometer]) -> Optional[float]:
    """Return the temperature of the hottest package in degrees Celsius, None if none tells."""
    return max((c for one in all_ if (c := one.read_c()) is not None), default=None)


def critical(all_: list[Thermometer]) -> Optional[float]:
    """Return the least critical temperature in degrees Celsius, None if none is told."""
    return min((one.critical_c for one in all_ if one.critical_c is not None), default=None)


def throttle_files(system: Path) -> list[str]:
    """Return the throttle counters: one a core and one a package, for siblings count the same."""
    files: dict[tuple[str, ...], str] = {}
    cpus = system / "sys/devices/system/cpu"
    for folder in sorted(cpus.glob("cpu[0-9]*/thermal_throttle"), key=_number):
        package = small_text(str(folder.parent / "topology/physical_package_id")) or ""
        core = small_text(str(folder.parent / "topology/core_id")) or folder.parent.name
        die = small_text(str(folder.parent / "topology/die_id")) or ""
        files.setdefault((package, die, core), str(folder / "core_throttle_count"))
        files.setdefault((package,), str(folder / "package_throttle_count"))
    return sorted(files.values())


def _number(folder: Path) -> int:
    return int(folder.parent.name[len("cpu") :])


def throttle_counts(files: list[str]) -> dict[str, int]:
    """Return what the counters show now; those that cannot be read are left out."""
    found = {path: small_int(path) for path in files}
    return {path: value for path, value in found.items() if value is not None}


def throttled(before: dict[str, int], after: dict[str, int]) -> Optional[int]:
    """Return how often anything was throttled between; None when no counter tells.

    A counter that went back belongs to a CPU that was offline meanwhile: it tells nothing.
    """
    grown = [after[path] - before[path] for path in before if path in after]
    grown = [each for each in grown if each >= 0]
    return sum(grown) if grown else None
