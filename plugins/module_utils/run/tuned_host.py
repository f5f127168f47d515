# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a host as one comparable value, and whether a run has left them as they are.

Whose tuning it is tells the record; whether that run goes on tells the kernel (a lock).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_loader import (
    find_boot_loader,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import Machine
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import record, registry
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(system: Path) -> dict[str, Any]:
    """Return all settings; two snapshots of an untouched host are equal.

    Keys: ``knobs`` (values by knob and place), ``kernel_cmdline`` (``running``; ``configured``,
    the first entry's arguments, None without a boot loader), ``hugepages`` (reserved, by pool).
    """
    machine = Machine(system)
    pages: hugepages.State = {}
    with contextlib.suppress(hugepages.HugepagesError):
        pages = hugepages.read_state(system)
    return {
        "knobs": registry.snapshot(system),
        "kernel_cmdline": {"running": machine.running(), "configured": _configured(machine)},
        "hugepages": {str(pool): counts.reserved for pool, counts in sorted(pages.items())},
    }


def _configured(machine: Machine) -> Optional[list[str]]:
    try:
        entries = find_boot_loader(machine).entries()
    except (OSError, NvmelabError):  # no boot loader is no fault of a host that is only looked at
        return None
    return next(iter(entries.values()), None)


def live_run(lab_directory: Path) -> Optional[str]:
    """Return the run that is being executed here now."""
    found = (one.run_id for one in RunDirectory.all(lab_directory) if one.is_live())
    return next(found, None)


def left_tuned(lab_directory: Path, system: Path) -> Optional[dict[str, Any]]:
    """Return which run has tuned this host and not put it back yet; None if none has.

    Keys: ``run_id`` and ``tuned_at`` of the settings, ``hugepages_run_id``, and ``is_live``:
    whether that run is still being executed. A user's own play is not told of.

    Raises:
        NvmelabError: a record cannot be understood.
    """
    tuned = record.load(lab_directory / record.NAME, system)
    if tuned and (tuned.is_void or tuned.run_id is None):
        tuned = None
    # After a boot too: limits and mount units stay, though the pages are gone.
    pages_run = hugepages.load_record(lab_directory / hugepages.RECORD_NAME, system).run_id
    if tuned is None and pages_run is None:
        return None
    runs = {run_id for run_id in (tuned.run_id if tuned else None, pages_run) if run_id}
    return {
        "run_id": tuned.run_id if tuned else None,
        "tuned_at": tuned.tuned_at if tuned else None,
        "hugepages_run_id": pages_run,
        "is_live": any(RunDirectory.of(lab_directory, run_id).is_live() for run_id in runs),
    }
