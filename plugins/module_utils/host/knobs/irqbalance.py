# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether irqbalance runs, which spreads interrupts over all CPUs every ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import services
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)

if TYPE_CHECKING:
    from pathlib import Path

KNOB = "irqbalance"
UNIT = "irqbalance.service"


class Irqbalance(Knob):
    """irqbalance, stopped or running. It is never disabled: a reboot brings it back."""

    name = KNOB
    group = "quiet_host"

    def read(self, system: Path) -> Reading:
        """Return ``active`` or ``inactive``; what is not installed is inactive."""
        tool = services.systemctl(system)
        if tool is None:
            runs = "irqbalance" in services.process_names(system)
            return Reading({UNIT: "active" if runs else "inactive"})
        found = services.show_units(tool, [UNIT])[UNIT]
        state = "active" if services.is_active(found) else "inactive"
        load = found.get("LoadState", "")
        return Reading(
            {UNIT: state},
            allowed=("active", "inactive") if load == "loaded" else ("inactive",),
            note=None if load == "loaded" else f"systemd says {UNIT} is {load}",
        )

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:  # noqa: ARG002
        """Return the state that true or false stands for."""
        if not isinstance(asked, bool):
            raise BadInputError(f"{self.group}: {self.name} {asked!r}: wanted true or false")
        state = "active" if asked else "inactive"
        if reading.allowed is not None and state not in reading.allowed:
            raise BadInputError(
                f"{self.group}: {self.name} true: {reading.note}, wanted loaded; next: install "
                "irqbalance, or ask for false"
            )
        return {UNIT: state}

    def refusal(self, system: Path, place: str, value: str) -> Optional[str]:
        """Return that no systemd is there to do it, or None."""
        if services.systemctl(system):
            return None
        return (
            f"{place}: wanted {value}, and this host has no systemd; next: ask its own init for "
            "it, or do not ask for irqbalance"
        )

    def write(self, system: Path, place: str, value: str) -> None:
        """Have systemd stop or start it."""
        tool = services.systemctl(system)
        if tool is None:
            raise KnobError(self.refusal(system, place, value) or place)
        services.change_unit(tool, "start" if value == "active" else "stop", place)

    def describe(self, values: Mapping[str, str]) -> str:
        """Return on or off."""
        return "on" if values[UNIT] == "active" else "off"


def refuse_moved(asked: Mapping[str, Any], found: Mapping[str, Reading]) -> None:
    """Return when interrupts that are asked to be somewhere will stay there.

    Args:
        asked: the group's wishes, by name of the knob.
        found: all readings, by name of the knob.

    Raises:
        BadInputError: irqbalance moves them, and is not asked to stop.
    """
    reading = found.get("irq_cpus", Reading())
    if asked.get("irq_cpus") is None or reading.moved_by is None or asked.get(KNOB) is False:
        return
    raise BadInputError(
        f"quiet_host: irq_cpus {asked['irq_cpus']!r}: {reading.moved_by} is active and would move "
        f"the interrupts again; next: ask for {KNOB} false too"
    )


def is_irqbalance_active(system: Path) -> bool:
    """Return whether it runs."""
    return Irqbalance().read(system).values[UNIT] == "active"
