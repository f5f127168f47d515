# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All knobs, in the order in which they are written: what moves others comes before them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Iterable, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.cpupower import (
    CPUPOWER_KNOBS,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.quiet_host import (
    QUIET_KNOBS,
)

if TYPE_CHECKING:
    from pathlib import Path

KNOBS: tuple[Knob, ...] = (*CPUPOWER_KNOBS, *QUIET_KNOBS)
BY_NAME: dict[str, Knob] = {knob.name: knob for knob in KNOBS}
GROUPS = ("cpupower", "quiet_host")
# What the kernel may change too when a knob is written. Siblings that go offline and come back
# have lost what was theirs: their policies, their idle states, the interrupts bound to them.
_OF_EACH_CPU = tuple(
    knob.name for knob in CPUPOWER_KNOBS if knob.name != "smt" and not knob.is_held
)
_MOVES = {
    "smt": (*_OF_EACH_CPU, "irq_cpus"),
    "boost": ("frequency_min_khz", "frequency_max_khz"),
    "governor": ("energy_performance_preference", "energy_perf_bias", "frequency_min_khz"),
}


def by_group(group: str) -> tuple[Knob, ...]:
    """Return the knobs of a group, in writing order."""
    return tuple(knob for knob in KNOBS if knob.group == group)


def moved_by(names: Iterable[str]) -> tuple[str, ...]:
    """Return the settable knobs that writing these may change as well, in writing order."""
    moved = {other for name in names for other in _MOVES.get(name, ())}
    return tuple(knob.name for knob in KNOBS if knob.name in moved and knob.is_settable)


def readings(system: Path) -> dict[str, Reading]:
    """Return what every knob is now, by name; what cannot be read is unavailable, and why."""
    return {knob.name: _reading(knob, system) for knob in KNOBS}


def _reading(knob: Knob, system: Path) -> Reading:
    try:
        return knob.read(system)
    except KnobError as error:
        return Reading(unavailable=str(error))


def snapshot(system: Path) -> dict[str, dict[str, str]]:
    """Return the values of every knob that the host has, by place, those left out that others move.

    Two of an untouched host are equal.
    """
    found = {name: reading for name, reading in readings(system).items() if reading.values}
    return {name: BY_NAME[name].comparable(reading) for name, reading in found.items()}


def values_of(found: Mapping[str, Reading]) -> dict[str, dict[str, str]]:
    """Return the values of the knobs that are available, by name and place."""
    return {name: dict(reading.values) for name, reading in found.items() if reading.values}


def wishes_of(group: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not None, in writing order.

    Raises:
        BadInputError: a name that is no knob of the group, or one that nobody may ask for.
    """
    knobs = {knob.name: knob for knob in by_group(group)}
    for name in settings:
        if name not in knobs:
            raise BadInputError(f"{group}: no setting {name!r}{_hint(name, knobs)}")
        if settings[name] is not None and not knobs[name].is_settable:
            raise BadInputError(
                f"{group}: {name} {settings[name]!r}: it is recorded only; next: leave it out"
            )
    return {name: settings[name] for name in knobs if settings.get(name) is not None}


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
