# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vfio-pci needs beside its module: an IOMMU group of its own, or leave to do without.

Source: Linux, Documentation/driver-api/vfio.rst; drivers/vfio/vfio_main.c (noiommu).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.kernel_files import (
    write_kernel_file as sysfs_write,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    PciError,
    binding_of,
    iommu_group,
    text_of,
)

if TYPE_CHECKING:
    from pathlib import Path

# Drivers that a group's other members may have; see vfio_dev_viable() in older kernels.
_HARMLESS = (None, "vfio-pci", "pci-stub", "pcieport")
NOIOMMU = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def refuse(place: Path, *, unsafe_noiommu: bool) -> None:
    """Return when vfio-pci can take a device.

    Raises:
        PciError: there is no IOMMU, or others of its group are driven by the kernel.
    """
    group = iommu_group(place)
    if group is None:
        if not unsafe_noiommu:
            raise PciError(
                f"{place.name}: no IOMMU group, which vfio-pci needs; boot with an IOMMU "
                "(intel_iommu=on), allow unsafe_noiommu, or use driver uio_pci_generic"
            )
        return
    members = sorted((place / "iommu_group/devices").glob("*"))
    others = [
        f"{member.name} ({binding_of(member).driver})"
        for member in members
        if member.name != place.name and binding_of(member).driver not in _HARMLESS
    ]
    if others:
        raise PciError(
            f"{place.name}: its IOMMU group {group} also holds {', '.join(others)}, driven by the "
            "kernel; vfio gives a whole group or nothing: bind those to vfio-pci too, or use "
            "another slot"
        )


def noiommu(system: Path) -> Optional[bool]:
    """Return whether vfio does without an IOMMU; None where the kernel's vfio cannot, or is out."""
    text = text_of(system / NOIOMMU)
    return None if text is None else text.upper() in {"Y", "1"}


def set_noiommu(system: Path, *, on: bool) -> None:
    """Have vfio do without an IOMMU, or not; vfio is loaded.

    Raises:
        PciError: this kernel's vfio always wants one.
    """
    if noiommu(system) is None:
        raise PciError(
            f"vfio: no {system / NOIOMMU}: this kernel is built without CONFIG_VFIO_NOIOMMU; boot "
            "with an IOMMU, or use driver uio_pci_generic"
        )
    if noiommu(system) != on:
        sysfs_write(system / NOIOMMU, "Y" if on else "N")
