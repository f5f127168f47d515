#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cpu_layout_info
short_description: Work out which CPU of this lab host does what
description:
  - Reads the host's topology (cores and their SMT siblings, L3 caches, NUMA nodes, kinds of core)
    and gives CPUs to housekeeping, storage targets, and the vCPUs and IOThreads of guests.
  - A core belongs to one role. Everything that is not housekeeping is isolated. Targets and guests
    are placed on the device's node and in one L3 cache where there is room, on performance cores
    before efficiency cores.
  - The same topology and options always give the same layout.
  - With too few cores it fails and says how many more are needed, unless O(overcommit) is set.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  housekeeping_cores:
    description:
      - Whole cores for the host itself and for interrupts, with all their threads. The first is
        the one that the kernel boots on.
      - By default 2. Not together with O(housekeeping_cpus).
    type: int
  housekeeping_cpus:
    description: Exactly these CPUs instead, such as V(0-1).
    type: str
  targets:
    description: Storage targets.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How to call it; by default C(target0), C(target1) and so on.
        type: str
      cores:
        description: How many CPUs poll for it.
        type: int
      cpus:
        description: Exactly these CPUs.
        type: str
  guests:
    description: Guests.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How to call it; by default C(guest0), C(guest1) and so on.
        type: str
      vcpus:
        description: How many vCPUs it has, each with a CPU of its own.
        type: int
      iothreads:
        description: How many IOThreads it has, each with a CPU of its own.
        type: int
      cpus:
        description: Exactly these CPUs for its vCPUs.
        type: str
      iothread_cpus:
        description: Exactly these CPUs for its IOThreads.
        type: str
  device:
    description:
      - PCI address of the NVMe device to be close to, such as V(0000:01:00.0).
      - By default the first node where everything fits.
    type: str
  smt:
    description:
      - V(pollers_alone) leaves the siblings of storage targets' and IOThreads' CPUs idle, V(alone)
        those of vCPUs too, V(shared) uses all threads, a core still for one role only.
    type: str
    choices: [pollers_alone, alone, shared]
    default: pollers_alone
  overcommit:
    description: With too few cores, share CPUs. The layout is then tainted, with reasons.
    type: bool
    default: false
  environments:
    description:
      - The C(environments) of a plan, as C(python -m nvmelab plan --format json) prints them. Then
        its storage targets and its guest are laid out, and O(targets) and O(guests) only say
        otherwise for those of the same name.
      - The guest is called C(guest), a target as its kind, C(qemu-storage-daemon),
        C(spdk-nvmf-tgt) or C(spdk-vhost), or C(targets) when several kinds are never up together.
      - A device without IOThreads is served by QEMU's main loop, which then counts as one.
      - Targets that this host has no program for are left out.
    type: dict
  spdk_directory:
    description: Where SPDK is looked for, for O(environments); by default on PATH.
    type: path
  sysfs:
    description: Where sysfs is.
    type: path
    default: /sys
attributes:
  check_mode:
    support: full
    description: Reads only.
"""

EXAMPLES = r"""
- name: Lay out one SPDK target and two guests near the device
  nvmelab.bench.cpu_layout_info:
    device: "0000:01:00.0"
    targets: [{name: spdk, cores: 2}]
    guests:
      - {name: one, vcpus: 4, iothreads: 1}
      - {name: two, vcpus: 4, iothreads: 1}
  register: cpus

- name: Lay out what a plan needs, with a second core for SPDK's vhost
  nvmelab.bench.cpu_layout_info:
    environments: "{{ (lookup('ansible.builtin.file', 'plan.json') | from_json).environments }}"
    targets: [{name: spdk-vhost, cores: 2}]

- name: Show it
  ansible.builtin.debug:
    msg: "{{ cpus.picture.splitlines() }}"
"""

RETURN = r"""
layout:
  description: Every CPU's work. What is not there is null.
  returned: success
  type: dict
  contains:
    schema_version:
      description: Of this dictionary.
      type: int
    housekeeping:
      description: CPUs of the host itself.
      type: str
    isolated:
      description: All others that are online.
      type: str
    idle:
      description: Threads that nothing may use, as their core is another's.
      type: str
    spare:
      description: CPUs of cores without a role.
      type: str
    roles:
      description: Each role's kind (housekeeping, target, vcpu, iothread), owner, count and cpus.
      type: list
      elements: dict
    verdict:
      description: Its state, V(clean) or V(tainted), and the reasons.
      type: dict
    remarks:
      description: What is allowed and yet worth knowing.
      type: list
      elements: str
picture:
  description: The layout for people, core by core.
  returned: success
  type: str
kernel_args:
  description: The boot arguments for it; empty when no CPU is isolated.
  returned: success
  type: list
  elements: str
  sample: [isolcpus=2-7, nohz_full=2-7, rcu_nocbs=2-7, irqaffinity=0-1]
pinning:
  description:
    - C(targets), each with name and cpus, and C(guests), each with name, vcpus, cpus, iothreads
      and iothread_cpus, as the modules that start them take them.
  returned: success
  type: dict
missing_cores:
  description: How many more cores would do.
  returned: when there are too few
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.capabilities import spdk_programs
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import lay_out
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout_text import (
    kernel_args,
    layout_dict,
    picture,
    pinning,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import needs
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import make_request
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import (
    device_node,
    read_topology,
)

TARGET = {"name": {"type": "str"}, "cores": {"type": "int"}, "cpus": {"type": "str"}}
GUEST = {
    "name": {"type": "str"},
    "vcpus": {"type": "int"},
    "iothreads": {"type": "int"},
    "cpus": {"type": "str"},
    "iothread_cpus": {"type": "str"},
}
ARGUMENTS = {
    "housekeeping_cores": {"type": "int"},
    "housekeeping_cpus": {"type": "str"},
    "targets": {"type": "list", "elements": "dict", "default": [], "options": TARGET},
    "guests": {"type": "list", "elements": "dict", "default": [], "options": GUEST},
    "device": {"type": "str"},
    "smt": {
        "type": "str",
        "choices": ["pollers_alone", "alone", "shared"],
        "default": "pollers_alone",
    },
    "overcommit": {"type": "bool", "default": False},
    "environments": {"type": "dict"},
    "spdk_directory": {"type": "path"},
    "sysfs": {"type": "path", "default": "/sys"},
}
SPDK_PROGRAMS = {"spdk-nvmf-tgt": "nvmf_tgt", "spdk-vhost": "vhost"}


def wanted(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with what a plan needs, when there is one."""
    if options["environments"] is None:
        return options
    spdk = spdk_programs(options["spdk_directory"])
    absent = [kind for kind, program in SPDK_PROGRAMS.items() if not spdk[program]]
    return needs(options["environments"], options, absent)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    sysfs = Path(options["sysfs"])
    try:
        node = device_node(options["device"], sysfs) if options["device"] else None
        request = make_request(wanted(options), node)
        topology = read_topology(sysfs)
        layout = lay_out(topology, request)
    except (OSError, NvmelabError) as error:
        code = getattr(error, "exit_code", 1)
        missing = getattr(error, "missing_cores", None)
        more = {"missing_cores": missing} if missing else {}
        module.fail_json(msg=str(error), exit_code=code, **more)
    module.exit_json(
        changed=False,
        layout=layout_dict(layout),
        picture=picture(topology, layout, node),
        kernel_args=kernel_args(layout),
        pinning=pinning(layout),
    )


if __name__ == "__main__":
    main()
