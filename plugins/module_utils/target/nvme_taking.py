# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real NVMe devices of this host: taken before SPDK starts, given back once it has ended.

What each had is written to the run directory before it is changed: whoever finds a killed run
there gives the devices back.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.machine_lock import alone
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import rebinding
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import record as pci_record
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    binding_of,
    find_nvme,
    full_address,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_device

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

KIND = "bdev_nvme"
RECORD = "nvme_bind.json"
SYSTEM = Path("/")  # another one in tests
_LOCK = "var/tmp/spdk_pci_lock_{}"


def addresses_of(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the devices behind a plan's exports or host files.

    Raises:
        BadInputError: one of them names no device, or two the same: SPDK has it once.
    """
    found: list[str] = []
    for part in parts:
        if part["backend"]["kind"] != KIND:
            continue
        if not part["backend"].get("bdf"):
            raise BadInputError(f"{part['name']}: backend {KIND} names no device (bdf)")
        address = full_address(part["backend"]["bdf"])
        if address in found:
            raise BadInputError(f"{part['name']}: {address} is another's backend; wanted its own")
        found.append(address)
    return found


def addresses_in(environment: Mapping[str, Any]) -> set[str]:
    """Return the devices that a plan's environment has while it is up."""
    exports = [one for target in environment["targets"] for one in target.get("exports", ())]
    parts = [*exports, *environment["host_files"]]
    return {one["backend"]["bdf"] for one in parts if one["backend"]["kind"] == KIND}


@contextlib.contextmanager
def taken(addresses: Sequence[str], directory: Path) -> Iterator[None]:
    """Take devices for what is started in the block; they are given back only if it fails."""
    take(addresses, directory)
    try:
        yield
    except BaseException:
        give_back_or_say(directory, addresses)  # why it failed is what is to be told
        raise


def take(addresses: Sequence[str], directory: Path) -> None:
    """Bind each device to the driver that leaves it to SPDK: all of them or none.

    Raises:
        BadInputError, PciError: which cannot be had, and why.
    """
    if not addresses:
        return
    with alone(SYSTEM, check_mode=False):
        drivers = {address: nvme_device.driver_for(address, SYSTEM) for address in addresses}
        try:
            for address, driver in drivers.items():
                # One that has it keeps it, also when SPDK has ended.
                if binding_of(find_nvme(address, SYSTEM)).driver != driver:
                    _steps([address], driver, directory).carry_out()
        except BaseException:
            _give_back(directory, addresses)
            raise


def give_back(directory: Path, addresses: Optional[Collection[str]] = None) -> list[str]:
    """Give back those of the devices that were taken; by default all. Return which.

    Raises:
        NvmelabError: one could not be given back; it stays on record.
    """
    if not is_on_record(directory):
        return []
    with alone(SYSTEM, check_mode=False):
        return _give_back(directory, addresses)


def is_on_record(directory: Path) -> bool:
    """Whether a device was taken for this run, and not given back."""
    return (directory / RECORD).exists()


def give_back_or_say(directory: Path, addresses: Optional[Collection[str]] = None) -> Optional[str]:
    """Give devices back; return why not, for those who have more to clear away."""
    try:
        give_back(directory, addresses)
    except (OSError, NvmelabError) as error:
        return f"not given back: {error}"
    return None


def _give_back(directory: Path, addresses: Optional[Collection[str]]) -> list[str]:
    path = directory / RECORD
    kept = pci_record.load(path, SYSTEM)
    wanted = [one for one in kept.devices if addresses is None or one in addresses]
    gone = [one for one in wanted if not (SYSTEM / "sys/bus/pci/devices" / one).is_dir()]
    for address in gone:
        kept = kept.without(address)
    if gone or not kept.devices:  # unplugged, or of an earlier boot: nothing is left to undo
        kept.save(path)
    there = [one for one in wanted if one not in gone]
    if there:
        _steps(there, None, directory).carry_out()
    for address in wanted:
        # SPDK's lock on it, which a killed one leaves: a file that says who had it.
        (SYSTEM / _LOCK.format(address)).unlink(missing_ok=True)
    return there


def _steps(addresses: Sequence[str], driver: Optional[str], directory: Path) -> rebinding.Steps:
    return rebinding.steps(addresses, driver, record_path=directory / RECORD, system=SYSTEM)
