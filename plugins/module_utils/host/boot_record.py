# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of our changes to the boot configuration, so that they can be undone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import (
    RECORD,
    BootLoaderError,
)

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import Machine

# Below /run, for it is of interest until the next boot only.
REMOVED = "/run/nvmelab/kernel_cmdline_removed.json"


@dataclass(frozen=True)
class Record:
    """What is ours in the boot configuration; ``arguments`` tells how often others have each."""

    boot_loader: str
    arguments: dict[str, int] = field(default_factory=dict)
    settled: bool = False  # False: a run began to change things and did not end well
    saved: Optional[dict[str, Any]] = None
    made: list[str] = field(default_factory=list)


def load_record(machine: Machine) -> Optional[Record]:
    """Return the record of this machine, None when nothing of ours is there."""
    fields = _read_json(machine, RECORD)
    try:
        return None if fields is None else Record(**fields)
    except TypeError as error:
        raise _unreadable(machine, RECORD, error) from error


def load_removed(machine: Machine) -> dict[str, int]:
    """Return what was ours since this boot and is not any more."""
    return dict(_read_json(machine, REMOVED) or {})


def _read_json(machine: Machine, name: str) -> Any:
    text = machine.read(name)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise _unreadable(machine, name, error) from error


def _unreadable(machine: Machine, name: str, error: Exception) -> BootLoaderError:
    return BootLoaderError(
        f"{machine.path(name)}: is not what nvmelab wrote: {error}; look at it, remove it, and "
        "run again"
    )
