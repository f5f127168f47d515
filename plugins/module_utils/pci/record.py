# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each device had before the first change, to be given back.

A reboot gives everything back by itself: a record of an earlier boot counts for nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.kernel_files import boot_id
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    Binding,
    PciError,
    text_of,
)

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Record:
    """The bindings by PCI address; ``noiommu_set`` when it was we who let vfio do without one."""

    boot_id: str
    devices: dict[str, Binding] = field(default_factory=dict)
    noiommu_set: bool = False

    def with_device(self, address: str, before: Binding) -> Record:
        """Return it with a device that is changed for the first time."""
        return replace(self, devices={address: before, **self.devices})

    def without(self, address: str) -> Record:
        """Return it without a device that has its binding back."""
        left = {name: binding for name, binding in self.devices.items() if name != address}
        return replace(self, devices=left)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all; an empty one is removed."""
        if not self.devices and not self.noiommu_set:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"schema_version": SCHEMA_VERSION, **asdict(self)})


def load(path: Path, system: Path) -> Record:
    """Return what was recorded since the last boot, or an empty record.

    Raises:
        PciError: the file cannot be understood.
    """
    now = boot_id(system)
    text: Optional[str] = text_of(path)
    if text is None:
        return Record(now)
    try:
        content = json.loads(text)
        devices = {name: Binding(**words) for name, words in content["devices"].items()}
        same_boot = content["boot_id"] == now
        noiommu_set = bool(content["noiommu_set"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PciError(
            f"{path}: found {error!r}, wanted the record of an earlier run; bind the devices by "
            "hand, then remove the file"
        ) from error
    return Record(now, devices, noiommu_set) if same_boot else Record(now)
