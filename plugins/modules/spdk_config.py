#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spdk_config
short_description: Bring a running SPDK application to a configuration
description:
  - Reads what an nvmf_tgt, spdk_tgt or vhost has, and makes what lacks. What is as asked is left
    alone; parameters that are not asked for are not sent, so that an older or newer SPDK works.
  - SPDK answers one error for several causes. They are looked for before each call; what is refused
    all the same is told with the end of the application's log.
  - Speaks JSON-RPC itself. The C(spdk) package of PyPI would have to be on every lab host, sends by
    default what v25.05 refuses, and bounds no call.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  socket:
    description: The application's RPC socket.
    type: path
    required: true
  transports:
    description: NVMe-oF transports. SPDK can neither change nor remove one.
    type: list
    elements: dict
    default: []
    suboptions:
      trtype:
        description: Such as V(VFIOUSER).
        type: str
        required: true
      options:
        description:
          - Parameters of C(nvmf_create_transport), in SPDK's words. SPDK does not tell those that
            are VFIOUSER's own; of a transport that is there already they are not compared.
        type: dict
        default: {}
  bdevs:
    description: Block devices.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name; with O(bdevs[].kind=nvme) the controller's, whose bdev is C(NAMEn1).
        type: str
        required: true
      kind:
        description:
          - V(malloc) is memory, V(null) keeps nothing, V(nvme) is a real NVMe device.
        type: str
        choices: [malloc, "null", nvme]
        required: true
      size_mib:
        description: Size in MiB, for V(malloc) and V(null).
        type: int
      block_bytes:
        description: Size of a block in bytes; V(512) by default.
        type: int
      bdf:
        description:
          - PCI address of the real device. Refused when it is in use, or not bound to a driver for
            user space, as M(nvmelab.bench.nvme_bind) does it.
        type: str
  subsystems:
    description: NVMe subsystems.
    type: list
    elements: dict
    default: []
    suboptions:
      nqn:
        description: Its name.
        type: str
        required: true
      serial_number:
        description: At most 20 characters.
        type: str
      model_number:
        description: At most 40 characters.
        type: str
      max_namespaces:
        description: How many namespaces it may have.
        type: int
      allow_any_host:
        description: Whether any host may connect, as a guest must.
        type: bool
        default: true
      namespaces:
        description: Its namespaces.
        type: list
        elements: dict
        default: []
        suboptions:
          bdev:
            description: The block device.
            type: str
            required: true
          nsid:
            description: Its number; by default the next one.
            type: int
      listeners:
        description: Folders in which it listens over vfio-user; QEMU connects to C(cntrl) in it.
        type: list
        elements: path
        default: []
  vhost_controllers:
    description: vhost-user-blk controllers, of the program vhost.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, and that of its socket.
        type: str
        required: true
      bdev:
        description: The block device.
        type: str
        required: true
      cpumask:
        description: Cores that may serve it, in hexadecimal.
        type: str
  exclusive:
    description:
      - Whether what is not asked for is removed, and what differs is made anew. Without it, what
        differs is an error.
    type: bool
    default: false
  directory:
    description:
      - Below it a listener's folder is made and a stale socket in one is removed. Elsewhere both
        are refused.
    type: path
attributes:
  check_mode:
    support: full
    description: Looks and tells; also finds most causes of a later failure.
  diff_mode:
    support: full
    description: Shows one line for each thing that the application has.
"""

EXAMPLES = r"""
- name: Serve two NVMe devices over vfio-user
  nvmelab.bench.spdk_config:
    socket: /run/lab/nvmf.rpc
    directory: /run/lab
    transports: [{trtype: VFIOUSER}]
    bdevs:
      - {name: Null0, kind: "null", size_mib: 1024}
      - {name: Malloc0, kind: malloc, size_mib: 64}
    subsystems:
      - nqn: nqn.2019-07.io.spdk:a
        namespaces: [{bdev: Null0}]
        listeners: [/run/lab/a]
      - nqn: nqn.2019-07.io.spdk:b
        namespaces: [{bdev: Malloc0}]
        listeners: [/run/lab/b]
"""

RETURN = r"""
items:
  description: One line for each thing that the application has afterwards.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_config import converge
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import asked_items
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import SpdkRpc

TRANSPORT = {
    "trtype": {"type": "str", "required": True},
    "options": {"type": "dict", "default": {}},
}
BDEV = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["malloc", "null", "nvme"], "required": True},
    "size_mib": {"type": "int"},
    "block_bytes": {"type": "int"},
    "bdf": {"type": "str"},
}
NAMESPACE = {"bdev": {"type": "str", "required": True}, "nsid": {"type": "int"}}
SUBSYSTEM = {
    "nqn": {"type": "str", "required": True},
    "serial_number": {"type": "str"},
    "model_number": {"type": "str"},
    "max_namespaces": {"type": "int"},
    "allow_any_host": {"type": "bool", "default": True},
    "namespaces": {"type": "list", "elements": "dict", "default": [], "options": NAMESPACE},
    "listeners": {"type": "list", "elements": "path", "default": []},
}
VHOST = {
    "name": {"type": "str", "required": True},
    "bdev": {"type": "str", "required": True},
    "cpumask": {"type": "str"},
}
ARGUMENTS = {
    "socket": {"type": "path", "required": True},
    "transports": {"type": "list", "elements": "dict", "default": [], "options": TRANSPORT},
    "bdevs": {"type": "list", "elements": "dict", "default": [], "options": BDEV},
    "subsystems": {"type": "list", "elements": "dict", "default": [], "options": SUBSYSTEM},
    "vhost_controllers": {"type": "list", "elements": "dict", "default": [], "options": VHOST},
    "exclusive": {"type": "bool", "default": False},
    "directory": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    own = Path(options["directory"]) if options["directory"] else None
    try:
        with SpdkRpc(options["socket"]) as rpc:
            outcome = converge(
                rpc,
                asked_items(options),
                own_directory=own,
                exclusive=options["exclusive"],
                check_mode=module.check_mode,
            )
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    before, after = outcome.lines()
    module.exit_json(
        changed=outcome.changed, items=after, diff=diff(options["socket"], before, after)
    )


if __name__ == "__main__":
    main()
