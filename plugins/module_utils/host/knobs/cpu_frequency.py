# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knobs of the CPU's frequency: boost, governor, energy hints and limits.

Source: the kernel's admin-guide/pm/{cpufreq,intel_pstate,amd-pstate,intel_epb}.rst, and
drivers/cpufreq/{cpufreq,intel_pstate,amd-pstate}.c. A policy is one frequency domain; that of
an offline CPU stays in sysfs and answers EBUSY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    FileKnob,
    SwitchKnob,
    find_places,
    offered,
    read_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Reading

CPU = "sys/devices/system/cpu"
POLICIES = f"{CPU}/cpufreq/policy[0-9]*"
NO_TURBO = f"{CPU}/intel_pstate/no_turbo"
NO_POLICY = "no CPU frequency policy in /sys/devices/system/cpu/cpufreq, as is usual in a VM"
MAX_BIAS = 15


def folder_of(place: str) -> str:
    """Return the folder that a place is in: its policy."""
    return place.rpartition("/")[0]


class CpufreqDriver(FileKnob):
    """Which driver sets the frequency, and in which mode; recorded only."""

    name = "cpufreq_driver"
    group = "cpupower"
    is_settable = False
    pattern = f"{POLICIES}/scaling_driver"
    missing = NO_POLICY

    def read(self, system: Path) -> Reading:
        """Return e.g. ``intel_pstate, active`` for each policy."""
        self_reading = super().read(system)
        modes = [
            read_file(system / CPU / name / "status") for name in ("intel_pstate", "amd_pstate")
        ]
        mode = next((text for text in modes if text and text != "off"), None)
        if mode is None:
            return self_reading
        values = {place: f"{text}, {mode}" for place, text in self_reading.values.items()}
        return type(self_reading)(values, self_reading.unavailable)


class Boost(SwitchKnob):
    """Frequencies above the base frequency: Intel's turbo, AMD's core performance boost.

    intel_pstate says it the other way round, in ``no_turbo``. Elsewhere one file is for all
    policies, and since Linux 6.11 one in each; it writes those too, and has to come first.
    """

    name = "boost"
    group = "cpupower"
    missing = "no boost control: neither intel_pstate/no_turbo nor cpufreq/boost is there"

    def places(self, system: Path) -> list[str]:
        """Return no_turbo alone, or the switch for all before those of the policies."""
        if read_file(system / NO_TURBO) is not None:
            return [NO_TURBO]
        return find_places(system, f"{CPU}/cpufreq/boost") + find_places(
            system, f"{POLICIES}/boost"
        )

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the wish for each file, turned round for no_turbo."""
        wished = super().resolve(asked, reading, system)
        return {place: _turned(place, value) for place, value in wished.items()}

    def describe(self, values: Mapping[str, str]) -> str:
        """Return on or off."""
        return super().describe({place: _turned(place, text) for place, text in values.items()})


def _turned(place: str, value: str) -> str:
    return {"0": "1", "1": "0"}.get(value, value) if place == NO_TURBO else value


class PolicyChoice(FileKnob):
    """A word in each policy, of those that a file beside it offers."""

    group = "cpupower"
    missing = NO_POLICY
    choices: str  # the file that lists what is offered
    not_offered: tuple[str, ...] = ()  # listed, and yet not to be asked for

    def allowed(self, system: Path) -> Optional[tuple[str, ...]]:
        """Return what all policies offer: kinds of cores may differ."""
        lists = [offered(read_file(system / place)) for place in find_places(system, self.choices)]
        known = [words for words in lists if words]
        if not known:
            return None
        return tuple(
            word
            for word in known[0]
            if word not in self.not_offered and all(word in words for words in known)
        )


class Governor(PolicyChoice):
    """What chooses the frequency; intel_pstate and amd-pstate-epp have two of their own."""

    name = "governor"
    pattern = f"{POLICIES}/scaling_governor"
    choices = f"{POLICIES}/scaling_available_governors"


class EnergyPerformancePreference(PolicyChoice):
    """The hint (EPP) to a CPU that chooses its frequency itself."""

    name = "energy_performance_preference"
    pattern = f"{POLICIES}/energy_performance_preference"
    choices = f"{POLICIES}/energy_performance_available_preferences"
    missing = "this CPU or its cpufreq driver takes no energy performance preference"
    # Written, it reads back as the word that the firmware chose.
    not_offered = ("default",)


class EnergyPerfBias(FileKnob):
    """Intel's older hint (EPB): 0 is performance, 15 power saving."""

    name = "energy_perf_bias"
    group = "cpupower"
    pattern = f"{CPU}/cpu[0-9]*/power/energy_perf_bias"
    missing = "this CPU has no energy performance bias (only Intel's have one)"

    def text_of(self, asked: Any) -> str:
        """Return a number of 0 to 15."""
        return str(whole_number(self, asked, MAX_BIAS))


class FrequencyLimit(FileKnob):
    """The least or the most that a policy may choose; a fixed frequency when both are equal."""

    group = "cpupower"
    missing = NO_POLICY
    unit = "kHz"

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.pattern = f"{POLICIES}/{file}"

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the limit for each policy, which must lie in what its hardware can do.

        The kernel would take others, and silently use the nearest.
        """
        wished = whole_number(self, asked)
        for place in reading.values:
            self._refuse_beyond(wished, folder_of(place), system)
        return dict.fromkeys(reading.values, str(wished))

    def _refuse_beyond(self, wished: int, policy: str, system: Path) -> None:
        least = read_file(system / policy / "cpuinfo_min_freq")
        most = read_file(system / policy / "cpuinfo_max_freq")
        steps: list[str] = []
        for name in ("scaling_available_frequencies", "scaling_boost_frequencies"):
            steps += (read_file(system / policy / name) or "").split()
        if least and most and not int(least) <= wished <= int(most):
            wanted = f"{least} to {most} kHz"
        elif steps and str(wished) not in {*steps, least, most}:
            wanted = f"one of {', '.join(steps)} kHz"
        else:
            return
        raise BadInputError(
            f"{self.group}: {self.name} {wished}: /{policy} takes {wanted}; next: ask for that"
        )


def whole_number(knob: FileKnob, asked: Any, most: Optional[int] = None) -> int:
    """Return the wish, which must be a number of 0 to ``most``."""
    is_number = isinstance(asked, int) and not isinstance(asked, bool)
    if not is_number or asked < 0 or (most is not None and asked > most):
        wanted = "a number of 0 or more" if most is None else f"a number of 0 to {most}"
        raise BadInputError(f"{knob.group}: {knob.name} {asked!r}: wanted {wanted}")
    return int(asked)
