# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When what moved during a measurement makes it doubtful; pure.

Only what is proven counts: a value that was not measured is no reason.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

# Readings of a steady clock differ by less than 1 %.
FREQUENCY_RATIO_MAX = 1.05
CPU_PRESSURE_PERCENT_MAX = 5.0
KHZ_PER_MHZ = 1000


def point_reasons(moved: Optional[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the reasons of one point, from its record's ``movement``."""
    if not moved:
        return []
    reasons = []
    count = moved["throttle_count"]
    if count:
        times = "once" if count == 1 else f"{count} times"
        reasons.append(_reason("throttled", f"a CPU was slowed down for its heat {times}"))
    reasons += _frequency(moved["frequency_khz"], "the point")
    pressure = moved["cpu_pressure_percent"]
    if pressure is not None and pressure > CPU_PRESSURE_PERCENT_MAX:
        text = f"tasks of the lab host had to wait for a CPU in {pressure:.1f} % of the time"
        reasons.append(_reason("cpu-pressure", f"{text}, more than {CPU_PRESSURE_PERCENT_MAX:g} %"))
    return reasons + _heat(moved["temperature_c"])


def run_reasons(moved: Optional[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the reasons that only a run's points together give, from :func:`movement.summary`."""
    return _frequency(moved["frequency_khz"], "the run") if moved else []


def _frequency(found: Optional[Mapping[str, Any]], meanwhile: str) -> list[dict[str, str]]:
    """Compare each CPU with itself only: kinds of core, and turbo, differ between CPUs."""
    if not found:
        return []
    spans = {int(cpu): span for cpu, span in found["by_cpu"].items()}
    moved = {
        cpu: (low, high)
        for cpu, (low, high) in sorted(spans.items())
        if high > low * FREQUENCY_RATIO_MAX
    }
    if not moved:
        return []
    worst = max(moved, key=lambda cpu: moved[cpu][1] / moved[cpu][0])
    low, high = (khz // KHZ_PER_MHZ for khz in moved[worst])
    more = f" ({len(moved)} CPUs moved)" if len(moved) > 1 else ""
    text = f"CPU {worst} ran at {low} to {high} MHz while it was busy during {meanwhile}{more}"
    return [_reason("frequency-moved", text)]


def _heat(found: Optional[Mapping[str, Any]]) -> list[dict[str, str]]:
    critical = found["critical"] if found else None
    if not found or critical is None:
        return []
    most = max(found["before"], found["after"])
    if most < critical:
        return []
    return [_reason("hot", f"the CPU had {most:g} °C, and {critical:g} °C is critical for it")]


def _reason(code: str, text: str) -> dict[str, str]:
    return {"code": code, "text": text}
