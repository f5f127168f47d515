# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of a host against what is in force there: rows, and what they say in one verdict.

Source of the shapes: docs/store.md, "host_state".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages, page_wishes
from ansible_collections.nvmelab.bench.plugins.module_utils.host.audit_boot import (
    cmdline_row,
    hugepages_row,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry, rows

if TYPE_CHECKING:
    from pathlib import Path

CODE = "host-state"
BOOT_GROUPS = ("kernel_cmdline", "hugepages")
GROUPS = (*registry.GROUPS, *BOOT_GROUPS)
DAEMONS = "tuning_daemons"

Rows = Sequence[Mapping[str, Any]]


def audit(
    asked: Mapping[str, Any], lab_directory: Path, system: Path, *, is_run_on: bool = False
) -> list[dict[str, Any]]:
    """Return one row for each knob, then one for the kernel's arguments and one for hugepages.

    Args:
        asked: by group: settings by name, a list of arguments, a list of pages. Nothing is asked
            with None, with an empty list, or by leaving it out.
        lab_directory: where hugepages.json lies.
        system: root of the machine.
        is_run_on: whether what is held for a run only has to be in force.

    Raises:
        BadInputError: a group or setting that there is not.
    """
    check(asked)
    table = rows.audit(asked, registry.readings(system), system, held=is_run_on)
    table.append(cmdline_row(asked.get("kernel_cmdline") or [], system))
    record_path = lab_directory / hugepages.RECORD_NAME
    table.append(hugepages_row(asked.get("hugepages") or [], record_path, system))
    return [row.as_dict() for row in table]


def check(asked: Mapping[str, Any]) -> None:
    """Return when these groups and settings exist.

    Raises:
        BadInputError: one does not; names key, found and wanted.
    """
    for group, wishes in asked.items():
        if group not in GROUPS:
            raise BadInputError(f"asked: found group {group!r}, wanted one of {', '.join(GROUPS)}")
        faults = [] if wishes is None else _faults(group, wishes)
        if faults:
            raise BadInputError("\n".join(faults))
        if group in registry.GROUPS:
            registry.wishes_of(group, wishes or {})


def _faults(group: str, wishes: object) -> list[str]:
    key = f"asked: {group}"
    if group == "hugepages":
        return page_wishes.faults(key, wishes)
    if group not in BOOT_GROUPS:
        is_meant, wanted = isinstance(wishes, dict), "settings by name"
    else:
        is_meant = isinstance(wishes, (list, tuple)) and all(isinstance(w, str) for w in wishes)
        wanted = "a list of arguments"
    return [] if is_meant else [f"{key}: found {wishes!r}, wanted {wanted}"]


def verdict(table: Rows) -> dict[str, Any]:
    """Return ``clean``, or ``tainted`` with the one reason that names every differing setting."""
    text = differing(table)
    reasons = [{"code": CODE, "text": text}] if text else []
    return {"state": "tainted" if reasons else "clean", "reasons": reasons}


def differing(table: Rows) -> Optional[str]:
    """Return which settings are not as asked, as one text; None when all are.

    A setting that the host does not have is not counted among those asked.
    """
    faulty = [row for row in table if row["state"] == "differs"]
    if not faulty:
        return None
    asked = [row for row in table if row["asked"] is not None and row["state"] in ("ok", "differs")]
    found = ", ".join(
        f"{row['knob']} {row['effective'] or 'unknown'} (asked {row['asked']})" for row in faulty
    )
    verb = "is" if len(faulty) == 1 else "are"
    return f"{len(faulty)} of {len(asked)} settings {verb} not as asked: {found}"


def changes(before: Rows, after: Rows) -> list[str]:
    """Return a text for each setting whose effective value is another one after than before.

    A service that is active all the while and is known to set such things is named with the last.
    """
    first = {row["knob"]: row["effective"] for row in before}
    moved = [row for row in after if row["effective"] != first.get(row["knob"], row["effective"])]
    texts = [
        f"{row['knob']} was {first[row['knob']] or 'not available'} before and "
        f"{row['effective'] or 'not available'} after"
        for row in moved
    ]
    active = next((row["effective"] for row in after if row["knob"] == DAEMONS), None)
    if texts and active not in (None, "none", *(row["effective"] for row in moved)):
        texts[-1] += f"; active, and sets such things: {active}"
    return texts
