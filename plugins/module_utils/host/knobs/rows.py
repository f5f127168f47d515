# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of each knob, what is in force, and what a person should know of it; pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import daemons, registry
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
        Knob,
        Reading,
    )

HELD = "held by the executor during a run, and only then"


@dataclass(frozen=True)
class Row:
    """One setting. ``asked`` and ``effective`` are texts in the same words, or None.

    ``state`` is ``ok``, ``differs``, ``unavailable`` (the host has no such setting) or
    ``recorded`` (nothing was asked, or what was asked is in force only during a run).
    """

    knob: str
    group: str
    asked: Optional[str]
    effective: Optional[str]
    state: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as results and manifests hold it."""
        return asdict(self)


def audit(
    asked: Mapping[str, Any],
    found: Mapping[str, Reading],
    system: Path,
    *,
    held: bool = False,
) -> list[Row]:
    """Return one row for every knob, in writing order.

    Args:
        asked: by group, what is asked of its knobs; None is nothing. Other groups are left out.
        found: of :func:`registry.readings`.
        system: root of the machine.
        held: whether a run is on, so that what only runs hold has to be in force.

    Raises:
        BadInputError: a setting that there is not, or that nobody may ask for.
    """
    table = []
    for group in registry.GROUPS:
        wishes = registry.wishes_of(group, asked.get(group) or {})
        table += [
            _row(knob, wishes.get(knob.name), found[knob.name], system, held=held)
            for knob in registry.by_group(group)
        ]
    return [_with_culprits(row, found) if row.state == "differs" else row for row in table]


def _with_culprits(row: Row, found: Mapping[str, Reading]) -> Row:
    """Return the row saying which active services set this knob too."""
    active = daemons.fighters(row.knob, found)
    if not active:
        return row
    verb = "is active and sets" if len(active) == 1 else "are active and set"
    return replace(row, text=f"{row.text}; {' and '.join(active)} {verb} it")


def _row(knob: Knob, asked: Any, reading: Reading, system: Path, *, held: bool) -> Row:
    wish = None if asked is None else knob.describe_wish(asked)
    effective = knob.describe(reading.values) if reading.values else None
    if effective is None:
        text, state = f"{knob.name} is not available: {reading.unavailable}", "unavailable"
    elif asked is None:
        text, state = f"{knob.name} is {effective}", "recorded"
    else:
        state, text = _judge(knob, asked, reading, system)
        if state == "differs" and knob.is_held and not held:
            state, text = "recorded", f"{knob.name} {wish}: {HELD}; now {effective}"
    text += f" ({reading.note})" if reading.note else ""
    return Row(knob.name, knob.group, wish, effective, state, text)


def _judge(knob: Knob, asked: Any, reading: Reading, system: Path) -> tuple[str, str]:
    effective, wish = knob.describe(reading.values), knob.describe_wish(asked)
    try:
        wished = knob.resolve(asked, reading, system)
    except (BadInputError, KnobError) as error:
        return "differs", f"{knob.name} is {effective}; {error}"
    if any(reading.values.get(place) != value for place, value in wished.items()):
        return "differs", f"{knob.name} is {effective}, wanted {wish}"
    return "ok", f"{knob.name} is {effective}, as asked"
