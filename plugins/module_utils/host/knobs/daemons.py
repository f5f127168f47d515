# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that set knobs by themselves, and may set them back: tuned, TLP and their like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import services
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import read_file
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)

if TYPE_CHECKING:
    from pathlib import Path

PLACE = "tuning daemons"
NONE = "none"
_POWER = ("governor", "energy_performance_preference", "boost", "frequency_min_khz")


@dataclass(frozen=True)
class Daemon:
    """One such service, and the knobs that it is known to write."""

    unit: str
    name: str
    knobs: tuple[str, ...]
    process: Optional[str] = None  # what /proc calls it, if it stays


# Those knobs only that the service writes in its usual configuration.
DAEMONS = (
    Daemon(
        "tuned.service",
        "tuned",
        (
            *_POWER,
            "frequency_max_khz",
            "energy_perf_bias",
            "dma_latency_us",
            "idle_latency_max_us",
            "thp",
            "ksm",
            "numa_balancing",
            "nmi_watchdog",
            "timer_migration",
            "workqueue_cpus",
            "irq_cpus",
            "aslr",
        ),
        "tuned",
    ),
    Daemon(
        "power-profiles-daemon.service",
        "power-profiles-daemon",
        ("governor", "energy_performance_preference", "energy_perf_bias", "boost"),
        "power-profiles-",
    ),
    Daemon(
        "tlp.service",
        "TLP",
        (*_POWER, "frequency_max_khz", "energy_perf_bias", "nmi_watchdog"),
    ),
    Daemon(
        "auto-cpufreq.service",
        "auto-cpufreq",
        (*_POWER, "frequency_max_khz", "energy_perf_bias"),
        "auto-cpufreq",
    ),
    Daemon("thermald.service", "thermald", ("frequency_max_khz", "boost"), "thermald"),
    Daemon(
        "cpufrequtils.service",
        "cpufrequtils",
        ("governor", "frequency_min_khz", "frequency_max_khz"),
    ),
    Daemon(
        "laptop-mode.service",
        "laptop-mode",
        ("governor", "frequency_min_khz", "frequency_max_khz", "nmi_watchdog"),
    ),
    Daemon("ksmtuned.service", "ksmtuned", ("ksm",), "ksmtuned"),
    Daemon("numad.service", "numad", ("numa_balancing", "thp", "ksm"), "numad"),
)


class TuningDaemons(Knob):
    """Which of them are active, tuned with its profile."""

    name = "tuning_daemons"
    group = "quiet_host"
    is_settable = False

    def read(self, system: Path) -> Reading:
        """Return all that are active as one text, or ``none``."""
        tool = services.systemctl(system)
        if tool is None:
            names = services.process_names(system)
            active = [daemon for daemon in DAEMONS if daemon.process in names]
        else:
            units = services.show_units(tool, [daemon.unit for daemon in DAEMONS])
            active = [daemon for daemon in DAEMONS if services.is_active(units[daemon.unit])]
        return Reading({PLACE: ", ".join(_text(system, daemon) for daemon in active) or NONE})


def _text(system: Path, daemon: Daemon) -> str:
    if daemon.name != "tuned":
        return daemon.name
    try:
        profile = read_file(system / "etc/tuned/active_profile")
    except KnobError:
        profile = None
    return f"{daemon.name} (profile {profile})" if profile else daemon.name


def fighters(knob_name: str, readings: Mapping[str, Reading]) -> tuple[str, ...]:
    """Return the active services that set this knob, e.g. ``("tuned (profile balanced)",)``."""
    reading = readings.get(TuningDaemons.name, Reading())
    active = reading.values.get(PLACE, NONE).split(", ")
    return tuple(
        text
        for text in active
        for daemon in DAEMONS
        if text.partition(" (")[0] == daemon.name and knob_name in daemon.knobs
    )
