# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several devices at once: all are looked at before one is changed, each is recorded before it is.

What one call changed is given back if a later device of it fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import binding, vfio
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import record as pci_record
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    Binding,
    PciError,
    binding_of,
    describe,
    find_nvme,
    full_address,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import KERNELS_OWN

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Sequence


@dataclass(frozen=True)
class Step:
    """One device: what it has, and what it shall have."""

    address: str
    before: Binding
    wanted: Binding


@dataclass(frozen=True)
class Steps:
    """What one call does; made without changing anything."""

    all: list[Step]
    record: pci_record.Record
    record_path: Path
    system: Path
    unsafe_noiommu: bool

    def carry_out(self) -> None:
        """Do it all, or nothing of it.

        Raises:
            NvmelabError: what failed; every device has again what it had, or the message says
                which has not.
        """
        noiommu = bool(vfio.noiommu(self.system))
        kept = self.record
        try:
            for step in self.all:
                kept = self._one(step, kept)
        except BaseException as error:
            left = self._give_back()
            if not kept.noiommu_set:
                self._set_noiommu(on=noiommu)
            if left:
                raise PciError(f"{error}; {'; '.join(left)}") from error
            raise
        if vfio.noiommu(self.system) and not noiommu:
            kept = replace(kept, noiommu_set=True)
        if kept.noiommu_set and not kept.devices:
            self._set_noiommu(on=False)
            kept = replace(kept, noiommu_set=False)
        if kept != self.record or self.record_path.exists() != bool(kept.devices):
            kept.save(self.record_path)

    def _one(self, step: Step, kept: pci_record.Record) -> pci_record.Record:
        """Change one device; return what is on record when all has gone well."""
        first = kept.devices.get(step.address)
        if step.before == step.wanted:
            return kept.without(step.address) if step.wanted == first else kept
        if first is None:
            kept = kept.with_device(step.address, step.before)
            kept.save(self.record_path)
        self._change(step.address, step.wanted)
        if step.wanted.driver == KERNELS_OWN:
            binding.await_disks(find_nvme(step.address, self.system))
        return kept.without(step.address) if step.wanted == first else kept

    def _give_back(self) -> list[str]:
        """Undo what this call has done; return what could not be undone, which stays on record."""
        kept, left = self.record, []
        for step in reversed(self.all):
            try:
                self._change(step.address, step.before)
            except PciError as error:
                left.append(str(error))
                kept = kept.with_device(step.address, step.before)
        kept.save(self.record_path)
        return left

    def _change(self, address: str, wanted: Binding) -> None:
        binding.change(address, wanted, system=self.system, unsafe_noiommu=self.unsafe_noiommu)

    def _set_noiommu(self, *, on: bool) -> None:
        if vfio.noiommu(self.system) is not None:
            vfio.set_noiommu(self.system, on=on)

    def described(self) -> list[dict[str, Any]]:
        """Return the devices as they are now."""
        return [describe(find_nvme(step.address, self.system)) for step in self.all]


def steps(
    addresses: Sequence[str],
    driver: Optional[str],
    *,
    record_path: Path,
    system: Path,
    unsafe_noiommu: bool = False,
) -> Steps:
    """Return what there is to do.

    Args:
        addresses: the devices; none means all on record, which only makes sense without a driver.
        driver: what they shall have; None for what they had before the first change.
        record_path: where that is recorded.
        system: root of the machine.
        unsafe_noiommu: whether vfio-pci may do without an IOMMU.

    Raises:
        NvmelabError: an address without an NVMe device, or a device that cannot be changed.
    """
    kept = pci_record.load(record_path, system)
    if driver and not addresses:
        raise BadInputError("devices: found none, wanted PCI addresses such as 0000:3b:00.0")
    if not addresses:
        kept = _of_those_there(kept, system)
    unsafe_noiommu = unsafe_noiommu or driver is None
    wanted = []
    for address in dict.fromkeys(map(full_address, addresses or sorted(kept.devices))):
        place = find_nvme(address, system)
        now, first = binding_of(place), kept.devices.get(address)
        after = binding.wanted_binding(driver, now, first) if driver else first or now
        binding.refuse(place, after, system, unsafe_noiommu=unsafe_noiommu)
        wanted.append(Step(address, now, after))
    return Steps(wanted, kept, record_path, system, unsafe_noiommu)


def _of_those_there(kept: pci_record.Record, system: Path) -> pci_record.Record:
    """Return the record without devices that were unplugged: nothing of theirs is left to undo."""
    for address in kept.devices:
        if not (system / "sys/bus/pci/devices" / address).is_dir():
            kept = kept.without(address)
    return kept
