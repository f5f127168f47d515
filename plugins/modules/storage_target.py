#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_target
short_description: Start or stop a process that serves devices to guests
description:
  - Starts qemu-storage-daemon, SPDK's nvmf_tgt or SPDK's vhost, makes its exports, and returns when
    all of them listen, or fails with the end of the target's log.
  - The target outlives the task. What it served is thrown away when it stops.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
requirements:
  - The target's program on the lab host; for SPDK also free hugepages and a mounted hugetlbfs
options:
  name:
    description: Name of the target; lower-case letters, digits and dashes.
    type: str
    required: true
  state:
    description: Whether the target shall run.
    type: str
    choices: [started, stopped]
    default: started
  directory:
    description:
      - Where the target's logs, sockets and records go.
      - By default C(targets/NAME) in the lab directory.
    type: path
  kind:
    description: The program. Required to start.
    type: str
    choices: [qemu-storage-daemon, spdk-nvmf-tgt, spdk-vhost]
  cpus:
    description:
      - CPUs of the target, as the kernel writes lists (V(2-5,8)). By default qemu-storage-daemon is
        not pinned, and SPDK polls on the last CPU.
    type: str
  exports:
    description: What it serves. At least one to start.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the export.
        type: str
        required: true
      transport:
        description:
          - How guests reach it; V(vfio-user) is for V(spdk-nvmf-tgt), V(vhost-user) for the others.
        type: str
        choices: [vhost-user, vfio-user]
        required: true
      backend:
        description: What it is served from.
        type: dict
        required: true
        suboptions:
          kind:
            description:
              - V(null-co), V(ram) and V(raw-file) for qemu-storage-daemon; V(bdev_null),
                V(bdev_malloc) and V(bdev_nvme), a real NVMe device, for SPDK.
            type: str
            choices: [null-co, ram, raw-file, bdev_null, bdev_malloc, bdev_nvme]
            required: true
          size_mib:
            description: Size in MiB; of all but V(bdev_nvme).
            type: int
          bdf:
            description:
              - PCI address of the device of V(bdev_nvme). It is bound to V(vfio-pci), or
                V(uio_pci_generic) where no IOMMU translates, while the target runs, and then given
                back; one that has such a driver keeps it.
              - Refused while it is in use, has partitions or holds a file system. Guests write over
                its data.
            type: str
          nsid:
            description: Namespace of the device of V(bdev_nvme); V(1) by default.
            type: int
      num_queues:
        description:
          - How many queues a vhost-user device may have. QEMU asks for one for each of the guest's
            CPUs. By default the number of the lab host's CPUs.
        type: int
  hugepages:
    description:
      - Whether SPDK takes hugepages. Without them it serves guests all the same, for trying things
        out where there are none; figures are not comparable.
    type: bool
    default: true
  interrupt_mode:
    description:
      - Whether SPDK sleeps until there is work, instead of polling. Idle it then costs no CPU, but
        each I/O costs more.
    type: bool
    default: false
  unit:
    description:
      - Whether the target is a scope of systemd's, on hosts where systemd runs. Elsewhere, and
        without this, it is a mere process.
    type: bool
    default: true
  qemu_path:
    description: QEMU beside which qemu-storage-daemon is looked for first.
    type: path
  spdk_directory:
    description:
      - SPDK's source tree with its build, or the folder of its programs. By default C(PATH).
    type: path
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    support: full
    description: Tells whether a target would be started or stopped.
  diff_mode:
    support: full
    description: Shows the state before and after.
"""

EXAMPLES = r"""
- name: Serve a device
  nvmelab.bench.storage_target:
    name: qsd
    kind: qemu-storage-daemon
    exports:
      - {name: disk, transport: vhost-user, backend: {kind: null-co, size_mib: 1024}, num_queues: 2}
  register: served

- name: Give it to a guest
  nvmelab.bench.guest:
    name: guest-1
    devices:
      - {name: disk, model: vhost-user-blk, socket: "{{ served.target.sockets.disk }}"}
"""

RETURN = r"""
target:
  description:
    - The target that runs. Null when it is stopped, and in check mode when it would be started.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    kind:
      description: Its program.
      type: str
    pid:
      description: Its process.
      type: int
    argv:
      description: Its whole argument list.
      type: list
      elements: str
    sockets:
      description: What QEMU connects to, by the export's name.
      type: dict
    log:
      description: What it said.
      type: str
    unit:
      description: Its unit of systemd, for C(systemctl status); null for a mere process.
      type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.state import (
    start_target,
    state_diff,
    stop,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import load_target
from ansible_collections.nvmelab.bench.plugins.module_utils.target.storage_target import KINDS

BACKEND = {
    "kind": {"type": "str", "choices": [*backends.KINDS, *backends.BDEVS], "required": True},
    "size_mib": {"type": "int"},
    "bdf": {"type": "str"},
    "nsid": {"type": "int"},
}
EXPORT = {
    "name": {"type": "str", "required": True},
    "transport": {"type": "str", "choices": ["vhost-user", "vfio-user"], "required": True},
    "backend": {"type": "dict", "options": BACKEND, "required": True},
    "num_queues": {"type": "int"},
}
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    **LAB_ROOT,
    "directory": {"type": "path"},
    "kind": {"type": "str", "choices": list(KINDS)},
    "cpus": {"type": "str"},
    "exports": {"type": "list", "elements": "dict", "default": [], "options": EXPORT},
    "hugepages": {"type": "bool", "default": True},
    "interrupt_mode": {"type": "bool", "default": False},
    "unit": {"type": "bool", "default": True},
    "qemu_path": {"type": "path"},
    "spdk_directory": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "started", ["kind", "exports"])],
        supports_check_mode=True,
    )
    options = module.params
    name = options["name"]
    directory = Path(options["directory"] or Path(options["root"], "targets", name))
    target = None
    try:
        if options["state"] == "started":
            changed, target = start_target(options, directory, check_mode=module.check_mode)
        else:
            changed = stop(load_target(directory, name), check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    changes = state_diff(f"storage target {name}", options["state"], changed=changed)
    module.exit_json(changed=changed, target=target, diff=changes)


if __name__ == "__main__":
    main()
