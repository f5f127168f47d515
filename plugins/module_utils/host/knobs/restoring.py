# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting back what tuning has changed, as the record tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Collection, Iterable, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import (
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

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.record import (
        Record,
        Values,
    )


def restore(
    system: Path,
    record_path: Path,
    groups: Optional[Collection[str]] = None,
    *,
    check_mode: bool = False,
    only_run: bool = False,
) -> Outcome:
    """Put touched places back as they were, read them back, and forget what is put back.

    Args:
        system: root of the machine.
        record_path: where the record of all tuning is kept.
        groups: whose settings; all by default. What a setting of theirs has moved comes along.
        check_mode: only tell what would be.
        only_run: only what a run has tuned; a user's own play stays.

    Raises:
        KnobError: something cannot be written; the rest is put back, and the record keeps it.
    """
    old, remarks = load_record(record_path, system, check_mode=check_mode)
    found = registry.readings(system)
    if old is None or (only_run and old.run_id is None):
        return Outcome(changed=False, rows=_rows(found, groups, system), remarks=remarks)
    layers = [old, old.under] if old.under and not only_run else [old]
    names = _names(layers, groups)
    values = _before(layers, names)
    steps = writing.pending(writing.present(values, found), found)
    writing.refuse_unwritable(system, steps)
    remarks += _meddled(layers, steps, found)
    after = expected(found, steps)
    if not check_mode:
        refused = list(writing.write_all(system, values, writing.fixed(values)))
        after = registry.readings(system)
        left = _left(values, after)
        record.save(_kept(old, names - set(left), only_run=only_run), record_path, old)
        if left:
            raise _failure(left, after, refused, record_path)
        remarks += _gone(layers, values, found, after)
    return Outcome(bool(steps), _rows(after, groups, system), diff(steps, found, after), remarks)


def _names(layers: Sequence[Record], groups: Optional[Collection[str]]) -> set[str]:
    """Return the knobs to put back: touched, of these groups, or moved by one of them.

    What a knob of these groups has moved in another group stays if that was asked for as well.
    """
    touched = {name for layer in layers for name in layer.touched}
    if groups is None:
        return touched
    own = {name for name in touched if registry.BY_NAME[name].group in groups}
    asked = {name for layer in layers for name in layer.asked}
    return own | {name for name in registry.moved_by(own) if name in touched - asked}


def _before(layers: Sequence[Record], names: Collection[str]) -> Values:
    """Return the values to put back; the lowest layer that knows a place is the oldest."""
    values: Values = {}
    ordered = [knob.name for knob in registry.KNOBS if knob.name in names]
    for layer in layers:
        for name in ordered:
            known = layer.before.get(name, {})
            places = [place for place in layer.touched.get(name, ()) if place in known]
            if places:
                values.setdefault(name, {}).update({place: known[place] for place in places})
    return values


def _meddled(layers: Sequence[Record], steps: Values, found: Mapping[str, Reading]) -> list[str]:
    """Return what somebody else has set since: neither what tuning left nor what was before."""
    written = _written(layers)
    remarks = []
    for name, places in steps.items():
        left = {place: written.get(name, {}).get(place) for place in places}
        other = {
            place: found[name].values[place]
            for place, value in left.items()
            if value is not None and found[name].values.get(place, value) != value
        }
        if other and not found[name].moved_by:
            knob = registry.BY_NAME[name]
            tuned = knob.describe({place: left[place] or "" for place in other})
            remarks.append(
                f"{name}: somebody else has set it to {knob.describe(other)} since it was tuned "
                f"to {tuned}; it goes back to what was before the tuning all the same"
            )
    return remarks


def _written(layers: Sequence[Record]) -> Values:
    """Return what tuning left at each place; the upper layer is the newer."""
    written: Values = {}
    for layer in reversed(layers):
        for name, values in layer.written.items():
            written.setdefault(name, {}).update(values)
    return written


def _left(values: Values, after: Mapping[str, Reading]) -> Values:
    """Return the places that have not become what they were; somebody may move some always."""
    left = writing.pending(writing.present(values, after), after)
    return {name: places for name, places in left.items() if not after[name].moved_by}


def _kept(old: Record, done: Collection[str], *, only_run: bool) -> Optional[Record]:
    """Return what there is still to remember once these knobs are put back."""
    under = old.under if only_run or old.under is None else old.under.without(done)
    top = old.without(done)
    if top is None:
        return under
    orphans = old.under.folders if old.under and under is None else ()
    return replace(top, under=under, folders=(*orphans, *top.folders))


def _failure(
    left: Values, after: Mapping[str, Reading], refused: Iterable[KnobError], path: Path
) -> KnobError:
    texts = []
    for name, wanted in left.items():
        knob = registry.BY_NAME[name]
        now = {place: after[name].values.get(place, "nothing") for place in wanted}
        texts.append(
            f"{name}: found {knob.describe(now)}, wanted {knob.describe(wanted)} as before"
        )
    why = f" ({'; '.join(str(error) for error in refused)})" if refused else ""
    return KnobError(
        f"{'; '.join(texts)}{why}. The rest is put back; {path} keeps these. Next: see what "
        "holds them and run this again, or reboot the host"
    )


def _gone(
    layers: Sequence[Record],
    values: Values,
    found: Mapping[str, Reading],
    after: Mapping[str, Reading],
) -> list[str]:
    """Return what tuning had changed, and is there neither before this restoring nor after it."""
    written = _written(layers)
    remarks = []
    for name, places in values.items():
        there = {**found[name].values, **after[name].values}
        lost = [
            place
            for place in set(places) - set(writing.present({name: places}, found)[name])
            if place not in there and written.get(name, {}).get(place) != places[place]
        ]
        if lost:
            remarks.append(
                f"{name}: {len(lost)} of {len(places)} places are not there any more, perhaps "
                "with a CPU that is offline now, and stay as they are"
            )
    return remarks


def _rows(
    found: Mapping[str, Reading], groups: Optional[Collection[str]], system: Path
) -> list[rows.Row]:
    table = rows.audit({}, found, system)
    return [row for row in table if groups is None or row.group in groups]
