# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether SPDK may have a real NVMe device, and by which driver; looks only.

What is written to such a device is gone. So one that is in use, or that holds something which the
kernel recognises, is refused even when it was named.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.pci import binding
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    Binding,
    PciError,
    binding_of,
    block_devices,
    describe,
    find_nvme,
    full_address,
    iommu_group,
    text_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import (
    KERNELS_OWN,
    USER_SPACE_DRIVERS,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.use import find_use

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Those that SPDK can work with, when somebody has bound them.
USABLE = (*USER_SPACE_DRIVERS, "igb_uio")
_SECTOR_BYTES = 512  # what sysfs counts sizes in, whatever the device's own are
_MIB = 1 << 20
# What udev found in the first blocks of a disk; man 8 blkid.
_SIGNATURES = ("E:ID_PART_TABLE_TYPE", "E:ID_FS_TYPE")


def require_bound(address: str, system: Path) -> None:
    """Return when SPDK may have the device, and a driver for programs has it already.

    Raises:
        BadInputError: not an address.
        PciError: what is wrong with the device, and the next step.
    """
    place = find_nvme(address, system)
    _require_unused(place, system)
    found = binding_of(place).driver
    if found not in USABLE:
        raise PciError(
            f"{place.name}: bound to driver {found or 'none'}, wanted one of {', '.join(USABLE)}: "
            "bind it, for instance with role nvme_bind"
        )


def driver_for(address: str, system: Path) -> str:
    """Return the driver that leaves the device to SPDK: the one that it has, if it does so.

    Raises:
        BadInputError: not an address.
        PciError: absent, in use, not empty, or no such driver can have it.
    """
    place = find_nvme(address, system)
    _require_unused(place, system)
    now = binding_of(place).driver
    if now in USABLE:
        return str(now)
    content = next(_contents(place, system), None)
    if content:
        raise PciError(
            f"{place.name}: {content}; it would be written over: if that is meant, wipe it first "
            f"(wipefs --all /dev/{block_devices(place)[0]})"
        )
    return _possible_driver(place, system)


def look_at(addresses: Sequence[str], system: Path = Path("/")) -> list[dict[str, Any]]:
    """Return what a plan wants to know of devices: plain data, ``refusal`` of one that is not had.

    ``namespaces``: ``nsid, size_mib, block_bytes`` of each; null where the kernel's driver has not
    the device, for then nobody knows.

    Raises:
        BadInputError: not an address.
    """
    return [_look_at(one, system) for one in dict.fromkeys(map(full_address, addresses))]


def _look_at(address: str, system: Path) -> dict[str, Any]:
    keys = ("driver", "numa_node", "model", "namespaces", "program_driver", "refusal")
    about: dict[str, Any] = {"address": address, **dict.fromkeys(keys)}
    try:
        place = find_nvme(address, system)
        described = describe(place)
        about.update(driver=described["driver"], numa_node=described["numa_node"])
        about.update(model=_model(place), namespaces=_namespaces(place, system))
        about["program_driver"] = driver_for(address, system)
    except PciError as error:
        about["refusal"] = str(error)
    return about


def _require_unused(place: Path, system: Path) -> None:
    use = find_use(place, system)
    if use:
        raise PciError(f"{place.name}: {use}: in use; its data would be lost")


def _contents(place: Path, system: Path) -> Iterator[str]:
    """Yield what is on the device's disks, as the kernel and udev have recognised it."""
    for disk in block_devices(place):
        folder = system / "sys/class/block" / disk
        parts = sorted(path.name for path in folder.glob(f"{disk}p*"))
        if parts:
            yield f"/dev/{disk} has partitions ({', '.join(parts)})"
        said = text_of(system / f"run/udev/data/b{text_of(folder / 'dev')}") or ""
        words = dict(line.partition("=")[::2] for line in said.splitlines())
        for key in _SIGNATURES:
            if words.get(key):
                yield f"/dev/{disk} holds {words[key]}"


def _possible_driver(place: Path, system: Path) -> str:
    causes = []
    for driver in _candidates(place):
        try:
            binding.refuse(place, Binding(driver, driver), system)
        except PciError as error:
            causes.append(str(error).replace(f"{place.name}: ", "", 1))
        else:
            return driver
    if iommu_group(place) is None:
        causes.append("and no IOMMU for vfio-pci; boot with one (intel_iommu=on)")
    raise PciError(f"{place.name}: no driver leaves it to SPDK: {'; '.join(causes)}")


def _candidates(place: Path) -> tuple[str, ...]:
    """Return the drivers to try: past an IOMMU that translates, only vfio-pci reaches memory."""
    if iommu_group(place) is None:
        return ("uio_pci_generic",)
    is_passed = text_of(place / "iommu_group/type") == "identity"
    return ("vfio-pci", "uio_pci_generic") if is_passed else ("vfio-pci",)


def _model(place: Path) -> Optional[str]:
    return next((text_of(path) for path in sorted(place.glob("nvme/nvme*/model"))), None)


def _namespaces(place: Path, system: Path) -> Optional[list[dict[str, Any]]]:
    if binding_of(place).driver != KERNELS_OWN:
        return None
    found = []
    for disk in block_devices(place):
        folder = system / "sys/class/block" / disk
        numbers = [text_of(folder / name) for name in ("nsid", "size", "queue/logical_block_size")]
        if all(numbers):
            nsid, sectors, block_bytes = (int(str(number)) for number in numbers)
            size_mib = sectors * _SECTOR_BYTES // _MIB
            found.append({"nsid": nsid, "size_mib": size_mib, "block_bytes": block_bytes})
    return found
