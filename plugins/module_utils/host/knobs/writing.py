# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing values of knobs, in the order that the kernel needs; finding what is not so yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)

if TYPE_CHECKING:
    from pathlib import Path

_KERNEL = ("proc/", "sys/")
Values = Mapping[str, Mapping[str, str]]  # by knob and place
# What shall be, of what a knob reads now: places may have come or gone with a write before it.
Target = Callable[[Knob, Reading], Mapping[str, str]]


def pending(wished: Values, found: Mapping[str, Reading]) -> dict[str, dict[str, str]]:
    """Return the places, by knob, that do not have their wished value; empty when all have."""
    steps = {
        name: {
            place: value
            for place, value in values.items()
            if found[name].values.get(place) != value
        }
        for name, values in wished.items()
    }
    return {name: places for name, places in steps.items() if places}


def refuse_unwritable(system: Path, steps: Values) -> None:
    """Return when all of it can be written, as far as can be known without writing.

    Raises:
        KnobError: e.g. a read-only sysfs.
    """
    for name, places in steps.items():
        for place, value in places.items():
            reason = registry.BY_NAME[name].refusal(system, place, value)
            if reason:
                raise KnobError(reason)


def write_all(system: Path, names: Iterable[str], target: Target) -> Iterator[KnobError]:
    """Write what is not as ``target`` says, knob by knob, each read just before.

    Gives one error for each place that was refused; whoever wants to stop at the first, does.
    """
    for name, is_raising in _sequence(names):
        yield from _write_knob(system, registry.BY_NAME[name], target, is_raising=is_raising)


def _write_knob(
    system: Path, knob: Knob, target: Target, *, is_raising: bool
) -> Iterator[KnobError]:
    refused: set[str] = set()
    # Twice, for one place may move others: boost for all sets that of each policy.
    for _ in range(2):
        try:
            reading = knob.read(system)
            wished = target(knob, reading)
        except NvmelabError as error:
            yield KnobError(str(error))
            return
        for place, value in wished.items():
            found = reading.values.get(place)
            if found == value or place in refused or (is_raising and _lowers(found, value)):
                continue
            try:
                knob.write(system, place, value)
            except KnobError as error:
                refused.add(place)
                yield error


def _sequence(names: Iterable[str]) -> list[tuple[str, bool]]:
    """Return the knobs in writing order, each with whether it may only be raised yet.

    So that at no time a minimum is above its maximum, which the kernel refuses: a maximum is
    raised before the minimum is set, and lowered after it.
    """
    wanted = set(names)
    order = []
    for knob in registry.KNOBS:
        if knob.name == "frequency_min_khz" and "frequency_max_khz" in wanted:
            order.append(("frequency_max_khz", True))
        if knob.name in wanted:
            order.append((knob.name, False))
    return order


def _lowers(found: Optional[str], value: str) -> bool:
    return found is not None and int(value) < int(found)


def fixed(values: Values) -> Target:
    """Return a target of values that are known; what is there no more is not written.

    A place that is no file of the kernel (a service) is, whether it tells of itself or not.
    """
    return lambda knob, reading: _present(values.get(knob.name, {}), reading)


def present(values: Values, found: Mapping[str, Reading]) -> dict[str, dict[str, str]]:
    """Return the values of the places that are there to be written, by knob."""
    return {name: _present(places, found[name]) for name, places in values.items()}


def _present(values: Mapping[str, str], reading: Reading) -> dict[str, str]:
    return {
        place: value
        for place, value in values.items()
        if place in reading.values or not place.startswith(_KERNEL)
    }
