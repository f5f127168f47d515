# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swapping, turned off while there is memory for what was swapped out, and on again as it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.commands import find_tool, output
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import read_file
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.swap_areas import (
    SWAPS,
    Area,
    discard_policy,
    format_areas,
    parse_areas,
    parse_swaps,
)

if TYPE_CHECKING:
    from pathlib import Path

OFF = "off"
# Reading swapped pages back takes its time: some 10 GiB from a disk.
_DEADLINE_S = 600


class Swap(Knob):
    """All swap areas of the host, as one place: which are on, and with which priority."""

    name = "swap"
    group = "quiet_host"

    def read(self, system: Path) -> Reading:
        """Return the areas that are on as one line, or ``off``."""
        text = read_file(system / SWAPS)
        if text is None:
            return Reading(unavailable="this kernel cannot swap")
        return Reading({SWAPS: format_areas(parse_swaps(text))})

    def resolve(self, asked: Any, reading: Reading, system: Path) -> dict[str, str]:  # noqa: ARG002
        """Return ``off`` for false; for true the areas that are on, of which there must be one."""
        if not isinstance(asked, bool):
            raise BadInputError(f"{self.group}: {self.name} {asked!r}: wanted true or false")
        if asked and reading.values[SWAPS] == OFF:
            raise BadInputError(
                f"{self.group}: {self.name} true: no swap area is on, and which to turn on is not "
                "for us to choose; next: swapon one, or do not ask for swap"
            )
        return {SWAPS: reading.values[SWAPS] if asked else OFF}

    def refusal(self, system: Path, place: str, value: str) -> Optional[str]:
        """Return why these areas cannot be the ones that are on, or None."""
        now, wanted = _areas(system), parse_areas(value)
        leaving = [area for area in now if not _is_in(area, wanted)]
        coming = [area for area in wanted if not _is_in(area, now)]
        for tool, areas in (("swapoff", leaving), ("swapon", coming)):
            if areas and find_tool(system, tool) is None:
                return f"/{place}: wanted {value!r}, and this host has no {tool}"
        deleted = [area.path for area in leaving if area.is_deleted]
        if deleted:
            return (
                f"/{place}: {', '.join(deleted)} could not be turned on again; next: swapoff it "
                "yourself, or do not ask for swap"
            )
        return _memory_refusal(system, sum(area.used_kib for area in leaving))

    def write(self, system: Path, place: str, value: str) -> None:
        """Turn areas off and on until they are these.

        Those with a priority of the kernel's own come last, highest first: each gets one less than
        the one before, as at the first time.
        """
        wanted = parse_areas(value)
        problem = self.refusal(system, place, value)
        if problem:
            raise KnobError(problem)
        for area in _areas(system):
            if not _is_in(area, wanted):
                _run([_tool(system, "swapoff"), area.path])
        now = _areas(system)
        for area in sorted(wanted, key=lambda area: -area.priority):
            if not _is_in(area, now):
                argv = [_tool(system, "swapon"), *_options(system, area), area.path]
                _run(argv)

    def describe(self, values: Mapping[str, str]) -> str:
        """Return ``off``, or the areas with their priority."""
        areas = [f"{area.path} priority {area.priority}" for area in parse_areas(values[SWAPS])]
        return f"on ({', '.join(areas)})" if areas else OFF


def _areas(system: Path) -> list[Area]:
    return parse_swaps(read_file(system / SWAPS) or "")


def _is_in(area: Area, areas: list[Area]) -> bool:
    return any((area.path, area.priority) == (one.path, one.priority) for one in areas)


def _run(argv: Sequence[str]) -> None:
    output(argv, error=KnobError, deadline_s=_DEADLINE_S)


def _tool(system: Path, name: str) -> str:
    path = find_tool(system, name)
    if path is None:
        raise KnobError(f"this host has no {name}, wanted one to change its swap areas")
    return path


def _options(system: Path, area: Area) -> list[str]:
    """Return what swapon needs to do it as it was done; it cannot ask for a negative priority."""
    priority = ["--priority", str(area.priority)] if area.priority >= 0 else []
    policy = discard_policy(system, area.path)
    if policy is None:
        return priority
    return [*priority, f"--discard={policy}" if policy else "--discard"]


def _memory_refusal(system: Path, used_kib: int) -> Optional[str]:
    """Return that what was swapped out does not fit into memory, or None."""
    meminfo = read_file(system / "proc/meminfo") or ""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    if found is None or used_kib <= int(found[1]):
        return None
    return (
        f"/{SWAPS}: {used_kib // 1024} MiB are swapped out, found {int(found[1]) // 1024} MiB of "
        "memory available (MemAvailable) to take them back; next: stop what uses memory, or do "
        "not ask for swap"
    )
