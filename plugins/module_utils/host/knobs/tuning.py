# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting knobs, remembered, and putting them back.

Nothing is written before all of it is known to be possible, as far as that can be known, and the
state before is on the disk. What was written is read back; a failure puts back what was there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Collection, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import (
    cpupower,
    irqbalance,
    record,
    registry,
    rows,
    writing,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    KnobError,
    Reading,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.outcome import (
    Outcome,
    diff,
    expected,
    load_record,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.restoring import restore

if TYPE_CHECKING:
    from pathlib import Path

Readings = Mapping[str, Reading]
__all__ = ["Outcome", "restore", "tune"]


@dataclass(frozen=True)
class _Wishes:
    """One group's settings, and the value of each place that they mean on this host."""

    group: str
    asked: dict[str, Any]
    values: dict[str, dict[str, str]]

    def target(self, system: Path) -> writing.Target:
        """Return what each knob shall be, resolved anew: a CPU that came online is meant too."""
        return lambda knob, reading: knob.resolve(self.asked[knob.name], reading, system)


def tune(
    system: Path,
    record_path: Path,
    group: str,
    settings: Mapping[str, Any],
    run_id: Optional[str] = None,
    *,
    check_mode: bool = False,
) -> Outcome:
    """Have these settings in force; what is None or not available stays as it is.

    Args:
        system: root of the machine.
        record_path: where the record of all tuning is kept.
        group: whose settings they are.
        settings: by name of the knob.
        run_id: the run that tunes; None for a user's own play.
        check_mode: only tell what would be.

    Raises:
        BadInputError: no such setting, or a value that this host does not take; nothing changed.
        KnobError: something cannot be written; what had been written was put back, or is named.
    """
    found = registry.readings(system)
    wishes = _resolve(group, settings, found, system)
    steps = writing.pending(wishes.values, found)
    writing.refuse_unwritable(system, steps)
    old, remarks = load_record(record_path, system, check_mode=check_mode)
    remarks += _unavailable(wishes, found)
    after: Readings = expected(found, steps)
    if steps and not check_mode:
        after = _carry_out(system, record_path, wishes, steps, _Before(found, old, run_id))
    table = [row for row in rows.audit({group: wishes.asked}, after, system) if row.group == group]
    return Outcome(bool(steps), table, diff(steps, found, after), remarks)


@dataclass(frozen=True)
class _Before:
    """What was there before a tuning: the host, the record, and who tunes."""

    found: Readings
    old: Optional[record.Record]
    run_id: Optional[str]


def _resolve(group: str, settings: Mapping[str, Any], found: Readings, system: Path) -> _Wishes:
    asked = registry.wishes_of(group, settings)
    values = {}
    for name, wish in asked.items():
        knob, reading = registry.BY_NAME[name], found[name]
        if reading.values:
            wished = knob.resolve(wish, reading, system)
            values.update({} if knob.is_held else {name: wished})
    cpupower.refuse_together(values, found)
    irqbalance.refuse_moved(asked, found)
    return _Wishes(group, asked, values)


def _unavailable(wishes: _Wishes, found: Readings) -> list[str]:
    lacking = [
        f"{name} ({found[name].unavailable})" for name in wishes.asked if not found[name].values
    ]
    if not lacking:
        return []
    return [f"not available on this host, and left out: {'; '.join(lacking)}"]


def _carry_out(
    system: Path, path: Path, wishes: _Wishes, steps: writing.Values, before: _Before
) -> Readings:
    """Write, read back and record; return what every knob is then."""
    snapshot = registry.values_of(before.found)
    # All places of a knob: one that is right already may be moved by writing another.
    moved = {name: snapshot.get(name, {}) for name in (*steps, *registry.moved_by(steps))}
    kept = record.begin(before.old, path, system, snapshot, before.run_id)
    kept = replace(kept, asked={**kept.asked, **{n: wishes.asked[n] for n in wishes.values}})
    kept = kept.touching(moved, {name: dict(values) for name, values in steps.items()})
    record.save(kept, path, before.old)
    try:
        for refusal in writing.write_all(system, wishes.values, wishes.target(system)):
            raise refusal
        after = registry.readings(system)
        _require(wishes, after, system)
    except NvmelabError as error:
        raise _undone(system, path, kept, before, error) from error
    left = {name: _present(after[name], places) for name, places in kept.touched.items()}
    record.save(kept.touching({}, left), path, kept)
    return after


def _present(reading: Reading, places: Collection[str]) -> dict[str, str]:
    return {place: reading.values[place] for place in places if place in reading.values}


def _require(wishes: _Wishes, after: Readings, system: Path) -> None:
    """Return when every wish is in force.

    Raises:
        KnobError: the kernel took a value and uses another.
    """
    for name in wishes.values:
        knob, reading = registry.BY_NAME[name], after[name]
        if not reading.values or reading.moved_by:
            continue  # it went offline with its CPUs; or somebody moves it all the time
        wished = knob.resolve(wishes.asked[name], reading, system)
        other = {place: reading.values[place] for place in wished if place in reading.values}
        if any(other[place] != wished[place] for place in other):
            raise KnobError(
                f"{name}: found {knob.describe(other)} after it was written, wanted "
                f"{knob.describe_wish(wishes.asked[name])}; next: see what else sets it, or do "
                "not ask for it"
            )


def _undone(
    system: Path, path: Path, kept: record.Record, before: _Before, cause: NvmelabError
) -> KnobError:
    """Put back what was there before this tuning; return the error to raise."""
    values = {name: _present(before.found[name], places) for name, places in kept.touched.items()}
    refused = list(writing.write_all(system, values, writing.fixed(values)))
    now = registry.readings(system)
    left = writing.pending(writing.present(values, now), now)
    if not left:
        record.save(before.old, path, kept)
        return KnobError(f"{cause}. What had been changed was put back")
    names = ", ".join(left)
    why = "; ".join(str(error) for error in refused) or "the kernel uses other values"
    return KnobError(
        f"{cause}. Could not be put back: {names} ({why}); next: state absent, or reboot the host"
    )
