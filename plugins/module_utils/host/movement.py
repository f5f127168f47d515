# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What moved on a lab host while something was measured there.

Frequency of the busy CPUs, throttling, pressure on the CPUs, temperature. A value that the host
does not tell is None, never a guess. Cheap: reading it all takes well under a millisecond on a
small host, and nothing is read while fio runs but once a second.

Source: Linux Documentation/accounting/psi.rst; the modules busy_frequency and heat.
"""

from __future__ import annotations

import re
import statistics
import time
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.host import busy_frequency, heat

SOME_TOTAL = re.compile(r"^some .*total=(\d+)", re.MULTILINE)
BUSIEST_COUNT = 3


class Sensors:
    """The files that tell what moves; found once, read often."""

    def __init__(self, system: Path = Path("/")) -> None:
        self._pressure_path = str(system / "proc/pressure/cpu")
        self._stat_path = system / "proc/stat"
        self._frequencies = busy_frequency.frequency_files(system)
        self._throttles = heat.throttle_files(system)
        self._thermometers = heat.thermometers(system)
        self.critical_c = heat.critical(self._thermometers)

    def ticks(self) -> dict[int, busy_frequency.Ticks]:
        """Return each CPU's ticks; empty where no frequency is told, for nobody needs them then."""
        if not self._frequencies:
            return {}
        try:
            return busy_frequency.cpu_ticks(self._stat_path.read_text("ascii"))
        except (OSError, ValueError):
            return {}

    def frequency_khz(self, cpu: int) -> Optional[int]:
        """Return the frequency of a CPU, None when it does not tell."""
        path = self._frequencies.get(cpu)
        return (busy_frequency.small_int(path) or None) if path else None  # 0: it does not know

    def throttle_counts(self) -> dict[str, int]:
        """Return the throttle counters, by their file."""
        return heat.throttle_counts(self._throttles)

    def temperature_c(self) -> Optional[float]:
        """Return the temperature of the hottest package."""
        return heat.hottest(self._thermometers)

    def pressure_us(self) -> Optional[int]:
        """Return for how long some runnable task had to wait for a CPU, since boot."""
        found = SOME_TOTAL.search(busy_frequency.small_text(self._pressure_path) or "")
        return int(found[1]) if found else None


class Watch:
    """Watches one point, from when it is made until :meth:`end`."""

    def __init__(self, sensors: Sensors) -> None:
        self._sensors = sensors
        self._readings: dict[int, list[int]] = {}
        self._temperature_c = sensors.temperature_c()
        self._throttles = sensors.throttle_counts()
        self._began = time.monotonic()
        self._pressure_us = sensors.pressure_us()
        self._ticks = sensors.ticks()

    def tick(self) -> None:
        """Note the frequency of the CPUs that were busy since the last look; while fio runs."""
        now = self._sensors.ticks()
        for cpu in busy_frequency.busy_cpus(self._ticks, now):
            khz = self._sensors.frequency_khz(cpu)
            if khz:
                self._readings.setdefault(cpu, []).append(khz)
        self._ticks = now

    def end(self) -> dict[str, Any]:
        """Return the point record's ``movement``."""
        pressure_us = self._sensors.pressure_us()
        passed_s = time.monotonic() - self._began
        throttles = self._sensors.throttle_counts()
        return {
            "frequency_khz": busy_frequency.frequency_summary(self._readings),
            "throttle_count": heat.throttled(self._throttles, throttles),
            "cpu_pressure_percent": _percent(self._pressure_us, pressure_us, passed_s),
            "temperature_c": self._temperatures(),
        }

    def _temperatures(self) -> Optional[dict[str, Optional[float]]]:
        after = self._sensors.temperature_c()
        if self._temperature_c is None or after is None:
            return None
        critical = self._sensors.critical_c
        return {"before": self._temperature_c, "after": after, "critical": critical}


def _percent(before_us: Optional[int], after_us: Optional[int], passed_s: float) -> Optional[float]:
    if before_us is None or after_us is None or passed_s <= 0:
        return None
    return round(min(100.0, max(0.0, (after_us - before_us) / passed_s / 1e4)), 2)


def summary(records: Iterable[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    """Return what moved during a run, from its point records in the order they ran.

    Keys: ``point_count`` of the points that were watched, ``frequency_khz``, ``throttle_count``
    (of all), ``cpu_pressure_percent`` (``median``, ``max``), ``temperature_c`` (``before`` the
    first, ``after`` the last, ``max``, ``critical``), ``busiest_others``. None: none was watched.
    """
    watched = sorted(
        (record for record in records if record.get("movement")),
        key=lambda record: record["started_at"] or 0.0,
    )
    if not watched:
        return None
    moves = [record["movement"] for record in watched]
    return {
        "point_count": len(watched),
        "frequency_khz": _frequencies(_measured(moves, "frequency_khz")),
        "throttle_count": sum(counts) if (counts := _measured(moves, "throttle_count")) else None,
        "cpu_pressure_percent": _median_max(_measured(moves, "cpu_pressure_percent")),
        "temperature_c": _all_temperatures(_measured(moves, "temperature_c")),
        "busiest_others": _busiest(watched),
    }


def _measured(moves: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [move[key] for move in moves if move[key] is not None]


def _frequencies(all_: Sequence[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    if not all_:
        return None
    by_cpu: dict[str, list[int]] = {}
    for one in all_:
        for cpu, (low, high) in one["by_cpu"].items():
            known = by_cpu.get(cpu, [low, high])
            by_cpu[cpu] = [min(known[0], low), max(known[1], high)]
    return {
        "min": min(one["min"] for one in all_),
        "median": int(statistics.median(one["median"] for one in all_)),
        "max": max(one["max"] for one in all_),
        "by_cpu": by_cpu,
    }


def _median_max(values: Sequence[float]) -> Optional[dict[str, float]]:
    return {"median": round(statistics.median(values), 2), "max": max(values)} if values else None


def _all_temperatures(all_: Sequence[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    if not all_:
        return None
    return {
        "before": all_[0]["before"],
        "after": all_[-1]["after"],
        "max": max(max(one["before"], one["after"]) for one in all_),
        "critical": all_[-1]["critical"],
    }


def _busiest(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the processes of others that took the most in any one point, the worst first."""
    worst: dict[tuple[str, int], dict[str, Any]] = {}
    for record in records:
        for one in (record.get("load") or {}).get("busiest_others") or []:
            key = (one["name"], one["pid"])
            if key not in worst or one["cpu_percent"] > worst[key]["cpu_percent"]:
                worst[key] = dict(one)
    ordered = sorted(worst.values(), key=lambda one: -float(one["cpu_percent"]))
    return ordered[:BUSIEST_COUNT]
