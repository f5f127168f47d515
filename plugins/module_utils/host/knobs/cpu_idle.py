# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knobs of the CPU's idle states and of its sibling threads.

Source: the kernel's admin-guide/pm/cpuidle.rst, ABI/testing/sysfs-devices-system-cpu (cpuidle,
smt), kernel/cpu.c and kernel/power/qos.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import dma_latency
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpu_frequency import (
    CPU,
    folder_of,
    whole_number,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    FileKnob,
    SwitchKnob,
    read_file,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    KnobError,
    Reading,
)

if TYPE_CHECKING:
    from pathlib import Path

_STATE = re.compile(r"/cpu(\d+)/cpuidle/state(\d+)/")


class Smt(SwitchKnob):
    """Whether sibling threads are online; switching them off takes their CPUs away."""

    name = "smt"
    group = "cpupower"
    pattern = f"{CPU}/smt/control"
    missing = "this kernel has no SMT control"
    on = "on"
    off = "off"

    def read(self, system: Path) -> Reading:
        """Return on, off, forceoff, or how many threads a core has of more."""
        reading = super().read(system)
        word = reading.values.get(self.pattern)
        if word == "notsupported":
            return Reading(unavailable="this CPU has no SMT, or its firmware has switched it off")
        if word == "notimplemented":
            return Reading(unavailable="SMT cannot be switched at run time on this architecture")
        return reading

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return the wish; ``forceoff`` is as off as can be, and cannot be left."""
        wished = super().resolve(asked, reading, system)
        if reading.values.get(self.pattern) != "forceoff":
            return wished
        if wished[self.pattern] == self.on:
            raise BadInputError(
                "cpupower: smt True: found forceoff (booted with nosmt=force, or forced since), "
                "wanted a kernel that lets it be switched on; next: boot without it"
            )
        return dict(reading.values)


class IdleLatency(FileKnob):
    """Which idle states may be entered: those that are left again in this time."""

    name = "idle_latency_max_us"
    group = "cpupower"
    pattern = f"{CPU}/cpu[0-9]*/cpuidle/state[0-9]*/disable"
    missing = "no idle states in /sys/devices/system/cpu/cpu*/cpuidle, as is usual in a VM"
    unit = "µs"

    def parse(self, text: str) -> str:
        """Return whether a user disabled it: bit 0; the driver's own bit cannot be written."""
        try:
            return str(int(text) & 1)
        except ValueError:
            raise KnobError(
                f"cpuidle: found {text[:40]!r} in a file disable, wanted a number"
            ) from None

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:
        """Return 1 for the states that take longer, 0 for the others.

        Left as they are: states that the driver has disabled from the start and would be allowed.
        """
        most = whole_number(self, asked)
        wished = {}
        for place in reading.values:
            state = system / folder_of(place)
            latency = int(read_file(state / "latency") or 0)
            if latency > most:
                wished[place] = "1"
            elif read_file(state / "default_status") != "disabled":
                wished[place] = "0"
        return wished

    def describe(self, values: Mapping[str, str]) -> str:
        """Return which states are disabled, and on how many CPUs where it is not all."""
        by_state: dict[str, list[str]] = {}
        for place, value in values.items():
            match = _STATE.search(place)
            by_state.setdefault(f"state{match[2]}" if match else place, []).append(value)
        texts = []
        for state, found in sorted(by_state.items()):
            count = found.count("1")
            some = "" if count == len(found) else f" on {count} of {len(found)} CPUs"
            texts += [f"{state}{some}"] if count else []
        return f"{', '.join(texts)} disabled" if texts else "all states enabled"


class DmaLatency(FileKnob):
    """The bound on wake-up latency that is in force while somebody holds the device open."""

    name = "dma_latency_us"
    group = "cpupower"
    is_held = True
    pattern = dma_latency.DEVICE
    missing = "no /dev/cpu_dma_latency, as is usual in a container"
    unit = "µs"

    def read_place(self, system: Path, place: str) -> Optional[str]:
        """Return the bound that is in force, of whoever."""
        return dma_latency.in_force(system / place)

    def text_of(self, asked: Any) -> str:
        """Return a number of microseconds."""
        return str(whole_number(self, asked, dma_latency.UNBOUNDED_US))

    def describe(self, values: Mapping[str, str]) -> str:
        """Return the bound, or that there is none."""
        if values.get(self.pattern) == str(dma_latency.UNBOUNDED_US):
            return "no bound"
        return super().describe(values)
