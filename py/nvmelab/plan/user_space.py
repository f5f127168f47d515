# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan says of devices that programs in the guest drive themselves, and of their guest.

Keys are there only where they are needed: the plans of other experiments stay as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.device_node import (
    HUGEPAGES_2M_COUNT,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nvmelab.experiment.model import Guest, Stack


def device_keys(stack: Stack) -> dict[str, Any]:
    """The driver that the executor gives the device, where it is not the kernel's own."""
    return {"driver": stack.driver} if stack.driver in USER_SPACE_DRIVERS else {}


def guest_keys(guest: Guest, stacks: Iterable[Stack]) -> dict[str, Any]:
    """What such devices and the stacks' clients need of their guest, and its kernel's arguments."""
    stacks = list(stacks)
    drivers = {stack.driver for stack in stacks}
    clients = {stack.client for stack in stacks if stack.runs_on == "guest"} - {workload.FIO}
    arguments = [f"nvme.poll_queues={guest.poll_queues}"] if guest.poll_queues else []
    keys: dict[str, Any] = {}
    if "vfio-pci" in drivers:
        keys["iommu"] = True
        # pt: the kernel's own drivers go past it. Their queues would lie in scattered pages else,
        # and SPDK refuses to map such a one: "failed to translate IOVA … 4 segments needed".
        arguments += ["intel_iommu=on", "iommu=pt"]
    if drivers & set(USER_SPACE_DRIVERS):
        keys["hugepages_2m"] = HUGEPAGES_2M_COUNT
    if clients:
        keys["programs"] = sorted(clients)
    return {**keys, **({"kernel_args": arguments} if arguments else {})}
