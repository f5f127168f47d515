#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest
short_description: Start or stop a virtual machine with NVMe or virtio devices
description:
  - Starts a guest from the lab's guest image under QEMU and returns when one has logged in to it
    over SSH, or fails with what was awaited, how long, and where the logs are. A panic of the
    guest's kernel, QEMU's end and a guest held after an I/O error are recognised as such.
  - The guest outlives the task. Its disk is thrown away when it stops; nothing of it stays but
    its logs.
  - It has no network but its SSH port, which listens on the lab host's loopback address only.
  - Its memory is always shared (C(share=on) of QEMU's memory backend), without which vhost-user and
    vfio-user devices only hang; no option takes that away. Its devices are there from its start,
    none is plugged into a guest that runs.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
requirements:
  - QEMU, an SSH client, and an image made by M(nvmelab.bench.guest_image) on the lab host
options:
  name:
    description: Name of the guest; lower-case letters, digits and dashes.
    type: str
    required: true
  state:
    description: Whether the guest shall run.
    type: str
    choices: [started, stopped]
    default: started
  directory:
    description:
      - Where the guest's logs, sockets and records go.
      - By default C(guests/NAME) in the lab directory.
    type: path
  vcpus:
    description: Number of the guest's CPUs.
    type: int
    default: 2
  memory_mib:
    description: The guest's memory, in MiB.
    type: int
    default: 1024
  hugepages:
    description:
      - Whether its memory lies in hugepages of 2 MiB, as SPDK's vhost wants it. They must be free.
    type: bool
    default: false
  kernel_args:
    description:
      - Arguments of the guest's kernel besides the image's, such as V(nvme.poll_queues=2). An image
        that boots by itself takes none.
    type: list
    elements: str
    default: []
  iommu:
    description:
      - Whether it has an emulated IOMMU, which C(vfio-pci) in the guest needs. Its kernel uses one
        with V(intel_iommu=on) in O(kernel_args); SPDK's client wants V(iommu=pt) there, too.
    type: bool
    default: false
  cpus:
    description:
      - CPUs of the lab host for the guest's CPUs, as the kernel writes lists (V(2-5,8)). One each
        when there are enough. By default the guest is not pinned.
    type: str
  iothread_cpus:
    description: CPUs of the lab host for the IOThreads, one each in turn.
    type: str
  devices:
    description: Devices under test.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the device.
        type: str
        required: true
      model:
        description: Kind of the device.
        type: str
        choices: [nvme, virtio-blk, virtio-scsi, vhost-user-blk, vfio-user-pci]
        required: true
      slot:
        description:
          - PCI slot on bus 0, V(5) to V(30). By default counted from 16 in the order given.
        type: int
      properties:
        description: Properties of QEMU's device, as QEMU calls them.
        type: dict
        default: {}
      iothreads:
        description: Number of IOThreads of the device.
        type: int
        default: 0
      backend:
        description: What QEMU serves the device from. Not for devices with a O(devices[].socket).
        type: dict
        suboptions:
          kind:
            description: Nothing at all, a file in RAM, or a file on disk.
            type: str
            choices: [null-co, ram, raw-file]
            required: true
          size_mib:
            description: Size in MiB.
            type: int
            required: true
      socket:
        description:
          - Socket of the storage target that serves a vhost-user-blk or vfio-user-pci device.
        type: path
  qemu_path:
    description: QEMU to use. By default the one on C(PATH).
    type: path
  accelerator:
    description: As for M(nvmelab.bench.capabilities_info).
    type: str
    choices: [auto, tcg, kvm]
    default: auto
  deadline_s:
    description: How long the guest may take from its start to the first login, in seconds.
    type: float
    default: 120
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    support: full
    description: Tells whether a guest would be started or stopped.
  diff_mode:
    support: full
    description: Shows the state before and after.
"""

EXAMPLES = r"""
- name: Start a guest with an NVMe device
  nvmelab.bench.guest:
    name: guest-1
    devices:
      - name: disk
        model: nvme
        properties: {ioeventfd: "on"}
        backend: {kind: null-co, size_mib: 1024}
  register: started

- name: Look at the device from inside
  ansible.builtin.command:
    argv:
      - ssh
      - -oUserKnownHostsFile={{ started.guest.known_hosts_path }}
      - -oHostKeyAlias=nvmelab-guest
      - -i{{ started.guest.key_path }}
      - -p{{ started.guest.port }}
      - root@127.0.0.1
      - lspci -s {{ started.guest.devices.disk }}
  changed_when: false

- name: Stop it
  nvmelab.bench.guest:
    name: guest-1
    state: stopped
"""

RETURN = r"""
guest:
  description:
    - The guest that runs. Null when it is stopped, and in check mode when it would be started.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    host:
      description: Where its SSH port is, seen from the lab host.
      type: str
      sample: 127.0.0.1
    port:
      description: Its SSH port.
      type: int
    user:
      description: Who logs in.
      type: str
      sample: root
    key_path:
      description: Private key to log in with, on the lab host.
      type: str
    known_hosts_path:
      description: File with the guest's host key under the alias C(nvmelab-guest), on the lab host.
      type: str
    pid:
      description: QEMU's process.
      type: int
    argv:
      description: QEMU's whole argument list.
      type: list
      elements: str
    accelerator:
      description: What it runs under.
      type: str
      sample: tcg
    boot_s:
      description: Seconds from QEMU's start to the first login.
      type: float
    threads:
      description: The vCPU and IOThread threads with their kind, name, thread_id and cpus.
      type: list
      elements: dict
    devices:
      description: PCI address in the guest of each device under test.
      type: dict
    qemu_log:
      description: What QEMU said.
      type: str
    serial_log:
      description: The guest's console.
      type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import load_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.state import (
    start_guest,
    state_diff,
    stop,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import KINDS

BACKEND = {
    "kind": {"type": "str", "choices": list(KINDS), "required": True},
    "size_mib": {"type": "int", "required": True},
}
MODELS = ["nvme", "virtio-blk", "virtio-scsi", "vhost-user-blk", "vfio-user-pci"]
DEVICE = {
    "name": {"type": "str", "required": True},
    "model": {"type": "str", "choices": MODELS, "required": True},
    "slot": {"type": "int"},
    "properties": {"type": "dict", "default": {}},
    "iothreads": {"type": "int", "default": 0},
    "backend": {"type": "dict", "options": BACKEND},
    "socket": {"type": "path"},
}
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    **LAB_ROOT,
    "directory": {"type": "path"},
    "vcpus": {"type": "int", "default": 2},
    "memory_mib": {"type": "int", "default": 1024},
    "hugepages": {"type": "bool", "default": False},
    "kernel_args": {"type": "list", "elements": "str", "default": []},
    "iommu": {"type": "bool", "default": False},
    "cpus": {"type": "str"},
    "iothread_cpus": {"type": "str"},
    "devices": {"type": "list", "elements": "dict", "default": [], "options": DEVICE},
    "qemu_path": {"type": "path"},
    "accelerator": {"type": "str", "choices": ["auto", "tcg", "kvm"], "default": "auto"},
    "deadline_s": {"type": "float", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    name = options["name"]
    directory = Path(options["directory"] or Path(options["root"], "guests", name))
    guest = None
    try:
        if options["state"] == "started":
            changed, guest = start_guest(options, directory, check_mode=module.check_mode)
        else:
            changed = stop(load_guest(directory, name), check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    changes = state_diff(f"guest {name}", options["state"], changed=changed)
    module.exit_json(changed=changed, guest=guest, diff=changes)


if __name__ == "__main__":
    main()
