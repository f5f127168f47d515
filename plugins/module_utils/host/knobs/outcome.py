# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tuning and restoring have done, or would do, in the words of a module's result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Collection, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import record, registry

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
        Knob,
        Reading,
    )
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.rows import Row


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be. ``diff`` has one entry a knob; ``remarks`` are for a person."""

    changed: bool
    rows: list[Row]
    diff: list[dict[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def diff(
    names: Collection[str], found: Mapping[str, Reading], after: Mapping[str, Reading]
) -> list[dict[str, str]]:
    """Return one entry for each of these knobs, in writing order, as Ansible prints them."""
    return [
        {
            "before_header": knob.name,
            "before": _text(knob, found[knob.name]),
            "after_header": knob.name,
            "after": _text(knob, after[knob.name]),
        }
        for knob in registry.KNOBS
        if knob.name in names
    ]


def expected(
    found: Mapping[str, Reading], steps: Mapping[str, Mapping[str, str]]
) -> dict[str, Reading]:
    """Return the readings as they are after these steps if the host does as told."""
    changed = {
        name: replace(found[name], values={**found[name].values, **places})
        for name, places in steps.items()
    }
    return {**found, **changed}


def _text(knob: Knob, reading: Reading) -> str:
    return f"{knob.describe(reading.values)}\n" if reading.values else "not available\n"


def load_record(
    path: Path, system: Path, *, check_mode: bool
) -> tuple[Optional[record.Record], list[str]]:
    """Return the record that holds, and what there is to say of one that does not any more.

    That one is removed, unless this is check mode.

    Raises:
        KnobError: the file cannot be understood.
    """
    old = record.load(path, system)
    if old is None or not old.is_void:
        return old, []
    if not check_mode:
        record.save(None, path, old)
    return None, [f"{path}: it recorded a tuning of an earlier boot, which ended with that boot"]
