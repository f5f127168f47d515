# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a real NVMe device may be taken by a driver in user space: not mounted, bound rightly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)

if TYPE_CHECKING:
    from pathlib import Path

USER_SPACE_DRIVERS = ("vfio-pci", "uio_pci_generic", "igb_uio")
_BDF = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_NVME_CLASS = "0x0108"  # mass storage, non-volatile memory


class PciDeviceError(NvmelabError):
    """A PCI device is not there, in use, or bound to the wrong driver."""


def require_user_space(bdf: str, system: Path) -> None:
    """Return when the NVMe device may be driven by SPDK.

    Raises:
        BadInputError: not an address.
        PciDeviceError: what is wrong with the device, and the next step.
    """
    if not _BDF.fullmatch(bdf):
        raise BadInputError(f"bdf {bdf!r}: wanted a PCI address such as 0000:3b:00.0")
    place = system / "sys/bus/pci/devices" / bdf
    if not place.is_dir():
        raise PciDeviceError(f"{bdf}: no such PCI device; see lspci -D")
    found = (place / "class").read_text(encoding="ascii").strip()
    if not found.startswith(_NVME_CLASS):
        raise PciDeviceError(f"{bdf}: PCI class {found}, wanted an NVMe device ({_NVME_CLASS}…)")
    used = _use(place, system)
    if used:
        raise PciDeviceError(f"{bdf}: {used}; its data would be lost; choose another device")
    driver = place / "driver"
    name = driver.resolve().name if driver.exists() else "none"
    if name not in USER_SPACE_DRIVERS:
        raise PciDeviceError(
            f"{bdf}: bound to driver {name}, wanted one of {', '.join(USER_SPACE_DRIVERS)}: bind "
            "it, for instance with driverctl set-override or SPDK's scripts/setup.sh"
        )


def _use(place: Path, system: Path) -> Optional[str]:
    """Return what the device, or a partition of it, is used for; None for nothing."""
    mounts = (system / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    mounted = {line.split()[2]: line.split()[4] for line in mounts.splitlines() if line}
    swaps = (system / "proc/swaps").read_text(encoding="utf-8", errors="replace")
    for number in sorted(place.glob("nvme/nvme*/nvme*n*/**/dev")):
        block = number.parent
        said = number.read_text(encoding="ascii").strip()
        if said in mounted:
            return f"/dev/{block.name} is mounted on {mounted[said]}"
        if re.search(rf"^/dev/{re.escape(block.name)}\s", swaps, re.MULTILINE):
            return f"/dev/{block.name} is used as swap"
        holders = block / "holders"
        if holders.is_dir() and any(holders.iterdir()):
            return f"/dev/{block.name} is held by {next(holders.iterdir()).name}"
    return None
