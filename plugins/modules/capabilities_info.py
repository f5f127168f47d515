#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capabilities_info
short_description: Find out which paths to a device this lab host can run
description:
  - Asks the QEMU, qemu-storage-daemon, SPDK and fio that are there what they can do, and tells
    which guest image and which accelerator a guest would have.
  - KVM counts only when a guest has booted under it to its SSH login, for C(/dev/kvm) may be
    there and guests hang all the same. That is tried once for each boot of the host, QEMU and
    kernel.
  - Answers are kept in the lab directory, so that only a changed program is asked again.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  qemu_path:
    description: QEMU to use. By default the one on C(PATH).
    type: path
  spdk_directory:
    description:
      - SPDK's source tree with its build, or the folder of its programs. By default C(PATH).
    type: path
  fio_path:
    description: The host's fio. By default the one on C(PATH).
    type: path
  guest_prefixes:
    description:
      - Folders that builds of fio, xNVMe, uPCIe or SPDK were installed to on this host. Guests get
        them, at the same paths; the fio among them then drives all points in guests.
    type: list
    elements: path
    default: []
  nvme_devices:
    description:
      - PCI addresses of real NVMe devices that a run may take from the kernel, and write over, in
        the order in which stacks with backend C(bdev_nvme) get them. Only looked at here.
    type: list
    elements: str
    default: []
  pins:
    description: The named set of pins that builds were asked of; only recorded.
    type: str
  accelerator:
    description:
      - V(auto) tries KVM and falls back to TCG, V(tcg) does not try, V(kvm) fails when KVM is not
        usable.
    type: str
    choices: [auto, tcg, kvm]
    default: auto
  accelerator_deadline_s:
    description: How long a guest may take to its login under KVM, in seconds.
    type: float
    default: 20
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    support: full
    description: Reads only, but for the answers it keeps in the lab directory.
"""

EXAMPLES = r"""
- name: Ask what this host can run
  nvmelab.bench.capabilities_info:
  register: lab

- name: Say so
  ansible.builtin.debug:
    msg: "{{ lab.capabilities.accelerator.name }}: {{ lab.capabilities.accelerator.reason }}"
"""

RETURN = r"""
capabilities:
  description: What this host can do. What is not there is null.
  returned: success
  type: dict
  contains:
    schema_version:
      description: Of this dictionary.
      type: int
    cpu_count:
      description: How many CPUs are online.
      type: int
    cpus:
      description: Which they are, such as V(0-7).
      type: str
    memory_mib:
      description: Memory of the host, in MiB.
      type: int
    kernel:
      description: The host's kernel release.
      type: str
    is_virtual_machine:
      description: Whether the host is itself a guest.
      type: bool
    qemu:
      description:
        - QEMU's path, version, devices (each with its properties), objects, block_drivers,
          accelerators, panic_actions and qboot firmware.
      type: dict
    qemu_storage_daemon:
      description: Its path, version and exports.
      type: dict
    spdk:
      description:
        - Paths of nvmf_tgt, vhost, bdevperf and spdk_nvme_perf, and their version; C(fio_plugin),
          the path of SPDK's engine for fio with C(fio_path) and C(fio_version) of the fio here, if
          it loads it.
      type: dict
    fio:
      description: Path, version and engines of the host's fio.
      type: dict
    builds:
      description:
        - C(pins), the name of their set, and C(products), what the stamps of those programs say
          that M(nvmelab.bench.source_build) has built, by product; null when it has built none.
      type: dict
    guest_image:
      description:
        - The image that guests are started from; C(pci_drivers) are those of its kernel that
          leave a device to programs.
      type: dict
    guest_payload:
      description:
        - Of O(guest_prefixes), C(paths) that all guests get, and the fio among them (path, version,
          engines); by name the C(programs) that only those guests get that use them, with path,
          libraries that a guest may lack, version, commit and target_arch of the build, and
          cpu_flags that it may not do without and QEMU's TCG does not emulate.
      type: dict
    nvme_devices:
      description:
        - Of each of O(nvme_devices) address, driver, numa_node, model, namespaces (nsid, size_mib,
          block_bytes; null when no driver of the kernel has it), program_driver, the driver that
          would leave it to SPDK, and refusal, why it cannot be had.
      type: list
      elements: dict
    accelerator:
      description: Its name, kvm_usable (null when not tried), the reason, and details of a failure.
      type: dict
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.capabilities import probe
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT
from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_device

ARGUMENTS = {
    **LAB_ROOT,
    "qemu_path": {"type": "path"},
    "spdk_directory": {"type": "path"},
    "fio_path": {"type": "path"},
    "guest_prefixes": {"type": "list", "elements": "path", "default": []},
    "nvme_devices": {"type": "list", "elements": "str", "default": []},
    "pins": {"type": "str"},
    "accelerator": {"type": "str", "choices": ["auto", "tcg", "kvm"], "default": "auto"},
    "accelerator_deadline_s": {"type": "float", "default": 20},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    try:
        found = probe(
            Path(options["root"]),
            qemu_path=options["qemu_path"],
            spdk_directory=options["spdk_directory"],
            fio_path=options["fio_path"],
            guest_prefixes=options["guest_prefixes"],
            pins=options["pins"],
            wanted_accelerator=options["accelerator"],
            accelerator_deadline_s=options["accelerator_deadline_s"],
        )
        found["nvme_devices"] = nvme_device.look_at(options["nvme_devices"])
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, capabilities=found)


if __name__ == "__main__":
    main()
