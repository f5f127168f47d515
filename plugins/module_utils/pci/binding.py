# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give an NVMe device another driver, or the one that it had: wholly, or not at all.

Whichever step fails, the device has the driver and the driver_override again that it had.

Source: Linux, Documentation/ABI/testing/sysfs-bus-pci (driver_override, drivers_probe, unbind).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.kernel_files import (
    write_kernel_file as sysfs_write,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import vfio
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    Binding,
    PciError,
    binding_of,
    block_devices,
    find_nvme,
    iommu_group,
    text_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import DRIVERS, KERNELS_OWN
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.use import find_use

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACES_S = 10.0
_COMMAND_OFFSET = 4  # of the PCI command register in the configuration space
_BUS_MASTER = 0x0004
_INTX_DISABLE = 0x0400


def wanted_binding(driver: str, now: Binding, recorded: Optional[Binding] = None) -> Binding:
    """Return what a device shall have so that ``driver`` drives it.

    A device that has the driver stays as it is. The override keeps a user-space driver on it even
    if the kernel's is loaded later; the kernel's own needs none, unless somebody had set it.

    Args:
        driver: one of DRIVERS.
        now: what it has.
        recorded: what it had before the first change, if there was one.

    Raises:
        BadInputError: another driver.
    """
    if driver not in DRIVERS:
        raise BadInputError(f"driver {driver!r}: wanted one of {', '.join(DRIVERS)}")
    if recorded and recorded.driver == driver:
        return recorded
    if now.driver == driver:
        return now
    return Binding(driver, None if driver == KERNELS_OWN else driver)


def refuse(place: Path, wanted: Binding, system: Path, *, unsafe_noiommu: bool = False) -> None:
    """Return when a device may be given this binding; nothing is changed.

    Raises:
        PciError: it is in use, or the driver cannot take it.
    """
    now = binding_of(place)
    if now.driver == wanted.driver:
        return
    use = find_use(place, system)
    if use:
        raise PciError(f"{place.name}: {use}: in use, not taken from driver {now.driver}")
    if wanted.driver and not _is_loaded(wanted.driver, system):
        _modprobe(wanted.driver, "--dry-run")
    if wanted.driver == "vfio-pci":
        vfio.refuse(place, unsafe_noiommu=unsafe_noiommu)


def change(address: str, wanted: Binding, *, system: Path, unsafe_noiommu: bool = False) -> Binding:
    """Give the device at ``address`` the binding ``wanted``; return the one that it had.

    Raises:
        BadInputError, PciError: not possible; the device is as it was, or the message says that
            even that failed.
    """
    place = find_nvme(address, system)
    before = binding_of(place)
    refuse(place, wanted, system, unsafe_noiommu=unsafe_noiommu)
    noiommu = vfio.noiommu(system)
    try:
        if wanted.driver and wanted.driver != before.driver:
            _load(wanted.driver, place, system)
        _put(place, wanted, system)
    except (OSError, PciError) as error:
        back = _put_back(place, before, system)
        _put_noiommu_back(system, before=noiommu)
        what = f"not bound to {wanted.driver}" if wanted.driver else "not taken from its driver"
        raise PciError(f"{place.name}: {what}: {_cause(error)}; {back}") from error
    except BaseException:  # interrupted: a device without a driver must not be left either
        _put_back(place, before, system)
        _put_noiommu_back(system, before=noiommu)
        raise
    return before


def await_disks(place: Path, deadline_s: float = NAMESPACES_S) -> list[str]:
    """Return the disks of a device that the kernel has just taken, once there are any."""
    end = time.monotonic() + deadline_s
    while True:
        found = block_devices(place)
        states = [text_of(path / "state") for path in place.glob("nvme/nvme*")]
        if found or "dead" in states or time.monotonic() >= end:
            return found
        time.sleep(0.02)


def _put(place: Path, wanted: Binding, system: Path) -> None:
    now = binding_of(place)
    if now.driver != wanted.driver:
        # First of all, so that no other driver takes it in between.
        _write_override(place, wanted.driver)
        if now.driver:
            sysfs_write(place / "driver/unbind", place.name)
        if wanted.driver:
            sysfs_write(system / "sys/bus/pci/drivers_probe", place.name)
    _write_override(place, wanted.override)
    if wanted.driver == "uio_pci_generic":
        _prepare_for_polling(place)
    found = binding_of(place)
    if found != wanted:
        raise PciError(f"found {found} afterwards, wanted {wanted}; see the kernel's log (dmesg)")


def _put_back(place: Path, before: Binding, system: Path) -> str:
    """Return how the device is left, once it has been tried to make it as it was."""
    for _ in range(2):  # what made the step fail may have been of the moment
        try:
            _put(place, before, system)
        except (OSError, PciError) as error:
            cause = _cause(error)
        else:
            return f"it has {before} again"
    now = binding_of(place)
    by_hand = f"{before.driver or 'an empty line'} to {place}/driver_override"
    if before.driver:
        by_hand += f" and {place.name} to {system / 'sys/bus/pci/drivers_probe'}"
    elif now.driver:
        by_hand += f" and {place.name} to {place}/driver/unbind"
    return f"and it could not be given {before} again ({cause}): it has {now}; write {by_hand}"


def _write_override(place: Path, driver: Optional[str]) -> None:
    if binding_of(place).override != driver:
        sysfs_write(place / "driver_override", driver or "\n")


def _prepare_for_polling(place: Path) -> None:
    """Let the device reach memory, and keep it from raising its interrupt line.

    The kernel's driver has forbidden the first when it left; uio_pci_generic leaves it to the
    program, and uPCIe does not do it. The line of SPDK's vfio-user device goes up with the first
    completion and stays: uio_pci_generic does not see that it is this device's, so the kernel is
    interrupted 100 000 times before it gives the line up, which was 90 s of a guest under TCG.
    The kernel's driver allows the line again when it takes the device.
    """
    config = place / "config"
    with config.open("r+b", buffering=0) as file:
        file.seek(_COMMAND_OFFSET)
        command = int.from_bytes(file.read(2), "little")
        wanted = command | _BUS_MASTER | _INTX_DISABLE
        if command != wanted:
            file.seek(_COMMAND_OFFSET)
            file.write(wanted.to_bytes(2, "little"))


def _is_loaded(driver: str, system: Path) -> bool:
    return (system / "sys/bus/pci/drivers" / driver).is_dir()


def _load(driver: str, place: Path, system: Path) -> None:
    if not _is_loaded(driver, system):
        _modprobe(driver)
    if not _is_loaded(driver, system):
        raise PciError(f"driver {driver}: modprobe ended well, but the kernel does not list it")
    if driver == "vfio-pci" and iommu_group(place) is None:
        vfio.set_noiommu(system, on=True)


def _put_noiommu_back(system: Path, *, before: Optional[bool]) -> None:
    with contextlib.suppress(OSError, PciError):  # there is a worse thing to tell
        if vfio.noiommu(system) is not None:
            vfio.set_noiommu(system, on=bool(before))


def _modprobe(driver: str, *options: str) -> None:
    """Load a driver's module, as modprobe calls it.

    Raises:
        PciError: this kernel has none.
    """
    argv = ["modprobe", *options, driver]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PciError(f"driver {driver}: modprobe cannot be run: {error}; install kmod") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise PciError(
            f"driver {driver}: the kernel {os.uname().release} cannot load its module: "
            f"{said[-1] if said else f'modprobe ended with {done.returncode}'}; boot a kernel that "
            "has it"
        )


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the kernel'}: {error.strerror}"
    return str(error)
