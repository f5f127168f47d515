#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvme_bind
short_description: Give NVMe devices a driver by their PCI address, and back
description:
  - Binds NVMe devices to a driver for programs in user space (C(uio_pci_generic), C(vfio-pci)), or
    to the kernel's own (C(nvme)), through sysfs alone. The driver's module is loaded where needed.
  - A device in use is refused. In use is one that is mounted, is swap, holds the root, is held by
    dm, md, btrfs or a loop device, or is open in a process. So is an address without a device, and
    a device that is not NVMe. All of them are looked at before any of them is changed.
  - Whichever step fails, a device has its old driver and C(driver_override) again.
  - What each device had before the first change is recorded in C(nvme_bind.json) in the lab
    directory. O(state=absent) gives it back; a reboot does so too.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  state:
    description: Whether the devices have the driver, or what they had before.
    type: str
    choices: [present, absent]
    default: present
  devices:
    description:
      - PCI addresses, such as V(0000:3b:00.0). With O(state=absent), none means all recorded.
    type: list
    elements: str
    default: []
  driver:
    description:
      - The driver. V(vfio-pci) needs an IOMMU, with no other device of the group driven by the
        kernel, or O(unsafe_noiommu).
    type: str
    choices: [nvme, uio_pci_generic, vfio-pci]
    default: uio_pci_generic
  unsafe_noiommu:
    description:
      - Whether V(vfio-pci) may take a device without an IOMMU. The kernel is tainted then, and has
        to be built with CONFIG_VFIO_NOIOMMU, which Debian's is not.
    type: bool
    default: false
extends_documentation_fragment: nvmelab.bench.lab_host
attributes:
  check_mode:
    support: full
    description: Tells what it would bind; refuses what it would refuse.
  diff_mode:
    support: full
    description: Shows the driver and the driver_override of each device.
"""

EXAMPLES = r"""
- name: Take a device for uPCIe
  nvmelab.bench.nvme_bind:
    devices: ["0000:3b:00.0"]

- name: Give back all that were taken
  nvmelab.bench.nvme_bind:
    state: absent
"""

RETURN = r"""
devices:
  description: The devices named, or given back, as they are now.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: PCI address.
      type: str
    driver:
      description: Driver; null for none.
      type: str
    driver_override:
      description: The only driver that may take it; null for any.
      type: str
    numa_node:
      description: NUMA node; null where the machine has but one.
      type: int
    iommu_group:
      description: IOMMU group; null without an IOMMU.
      type: str
    block_devices:
      description: Its disks in C(/dev), while the kernel drives it.
      type: list
      elements: str
    uio:
      description: Its device in C(/dev), with driver V(uio_pci_generic).
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.machine_lock import alone
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import (
    LAB_HOST,
    lab_directory,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import rebinding
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import DRIVERS

ARGUMENTS = {
    **LAB_HOST,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "devices": {"type": "list", "elements": "str", "default": []},
    "driver": {"type": "str", "choices": list(DRIVERS), "default": "uio_pci_generic"},
    "unsafe_noiommu": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    system = Path(options["root"])
    try:
        with alone(system, check_mode=module.check_mode):
            steps = rebinding.steps(
                options["devices"],
                options["driver"] if options["state"] == "present" else None,
                record_path=lab_directory(options) / "nvme_bind.json",
                system=system,
                unsafe_noiommu=options["unsafe_noiommu"],
            )
            if not module.check_mode:
                steps.carry_out()
        module.exit_json(**result(steps))
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))


def result(steps: rebinding.Steps) -> dict[str, Any]:
    """Return the module's result, before or after the steps were carried out."""
    before = [f"{step.address}: {step.before}" for step in steps.all]
    after = [f"{step.address}: {step.wanted}" for step in steps.all]
    return {
        "changed": before != after,
        "devices": steps.described(),
        "diff": diff("drivers of NVMe devices", before, after),
    }


if __name__ == "__main__":
    main()
