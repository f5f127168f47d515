# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sysfs tells of an NVMe device by its PCI address.

``system`` is the root directory of the machine; another than ``/`` is for tests.
Source: Linux, Documentation/ABI/testing/sysfs-bus-pci.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)

if TYPE_CHECKING:
    from pathlib import Path

NVME_CLASS = "0x0108"  # mass storage, non-volatile memory; the last digits tell NVMe from others
_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])")
_HIDDEN = re.compile(r"nvme(\d+)c\d+n(\d+)")


class PciError(NvmelabError):
    """A PCI device is not there, is in use, or does not get the driver that it shall have."""


@dataclass(frozen=True)
class Binding:
    """Which driver a device has, and which its ``driver_override`` names; None for none."""

    driver: Optional[str]
    override: Optional[str] = None

    def __str__(self) -> str:
        override = f", driver_override {self.override}" if self.override else ""
        return f"{self.driver or 'no driver'}{override}"


def full_address(text: str) -> str:
    """Return a PCI address as sysfs writes it: ``3B:00.0`` is ``0000:3b:00.0``.

    Raises:
        BadInputError: it is none.
    """
    found = _ADDRESS.fullmatch(text.strip().lower())
    if not found:
        raise BadInputError(f"device {text!r}: wanted a PCI address such as 0000:3b:00.0")
    return f"{found[1] or '0000'}:{found[2]}"


def find_nvme(address: str, system: Path) -> Path:
    """Return the folder in sysfs of the NVMe device at an address.

    Raises:
        BadInputError: not an address.
        PciError: nothing is there, or it is no NVMe device; with those that there are.
    """
    address = full_address(address)
    place = system / "sys/bus/pci/devices" / address
    if not place.is_dir():
        raise PciError(f"{address}: no such PCI device; {_there_are(system)}")
    found = text_of(place / "class") or "unreadable"
    if not found.startswith(NVME_CLASS):
        raise PciError(
            f"{address}: found a device of PCI class {found}, wanted NVMe ({NVME_CLASS}…); "
            f"{_there_are(system)}"
        )
    return place


def binding_of(place: Path) -> Binding:
    """Return what a device is bound to now."""
    driver = place / "driver"
    override = text_of(place / "driver_override")
    return Binding(
        driver=driver.resolve().name if driver.is_dir() else None,
        override=None if override in (None, "", "(null)") else override,
    )


def iommu_group(place: Path) -> Optional[str]:
    """Return the number of the device's IOMMU group; None where no IOMMU is in use."""
    group = place / "iommu_group"
    return group.resolve().name if group.is_dir() else None


def block_devices(place: Path) -> list[str]:
    """Return the names of the disks of an NVMe device, as they are in /dev.

    With multipath the disk is the head (nvme0n1) of what hangs below the device (nvme0c0n1).
    """
    found = set()
    for path in place.glob("nvme/nvme*/nvme*n*"):
        hidden = _HIDDEN.fullmatch(path.name)
        found.add(f"nvme{hidden[1]}n{hidden[2]}" if hidden else path.name)
    return sorted(found)


def describe(place: Path) -> dict[str, Any]:
    """Return what a play wants to know of a device, as plain data."""
    numa_node = text_of(place / "numa_node")
    found = binding_of(place)
    return {
        "device": place.name,
        "driver": found.driver,
        "driver_override": found.override,
        "numa_node": int(numa_node) if numa_node and numa_node != "-1" else None,
        "iommu_group": iommu_group(place),
        "block_devices": block_devices(place),
        "uio": next((path.name for path in sorted(place.glob("uio/uio*"))), None),
    }


def text_of(path: Path) -> Optional[str]:
    """Return a file of the kernel without its newline; None where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _there_are(system: Path) -> str:
    """Return the NVMe devices of the machine, for a message."""
    places = sorted((system / "sys/bus/pci/devices").glob("*"))
    devices = [
        f"{place.name} ({binding_of(place)})"
        for place in places
        if (text_of(place / "class") or "").startswith(NVME_CLASS)
    ]
    return f"NVMe devices here: {', '.join(devices) or 'none'}"
