#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_root
short_description: Have programs of another Debian suite beside the host's own
description:
  - Unpacks packages of another suite into a folder below the lab directory and writes a script for
    each program, which starts it with the libraries of its own suite. Nothing is installed, no
    package's script is run, no file of the host changes.
  - Made once for these inputs. The archive is the one that the host's own apt uses.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  name:
    description: The first part of the folder's name.
    type: str
    required: true
  suite:
    description: Debian's code name, or one with C(-backports) behind it.
    type: str
    required: true
  packages:
    description: Packages; what they depend on comes with them, what they recommend does not.
    type: list
    elements: str
    required: true
  programs:
    description: Programs below C(usr/bin) of these packages that are wanted.
    type: list
    elements: str
    required: true
  state:
    description: Whether the folder is there. V(absent) removes it; end its programs before.
    type: str
    choices: [present, absent]
    default: present
  archive_url:
    description: The archive, for a host that is no Debian. By default that of the host's apt.
    type: str
  archive_keyring:
    description: The keyring of O(archive_url). By default Debian's where the host has it.
    type: path
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    support: full
    description: Tells whether packages would be unpacked.
  diff_mode:
    support: full
    description: Shows the folder that appears or goes.
"""

EXAMPLES = r"""
- name: Have a QEMU with vfio-user-pci on Debian 12
  nvmelab.bench.package_root:
    name: qemu
    suite: trixie-backports
    packages: [qemu-system-x86, qemu-utils, seabios]
    programs: [qemu-system-x86_64, qemu-storage-daemon, qemu-img]
  register: newer

- name: Ask it for its version
  ansible.builtin.command:
    argv: ["{{ newer.programs['qemu-system-x86_64'] }}", --version]
  changed_when: false
"""

RETURN = r"""
directory:
  description: The folder of these packages.
  returned: success
  type: str
programs:
  description: Script of each program, by its name; empty in check mode before they are there.
  returned: success
  type: dict
  sample: {qemu-img: /var/lib/nvmelab/roots/qemu-0123456789ab/bin/qemu-img}
packages:
  description: Version of each unpacked package; empty in check mode before they are there.
  returned: success
  type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image import package_root
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import remove_tree
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "suite": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "programs": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "archive_url": {"type": "str"},
    "archive_keyring": {"type": "path"},
    **LAB_ROOT,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = converge(module.params, check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


def converge(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Return the module's result."""
    wanted = package_root.PackageRoot(
        name=params["name"],
        suite=params["suite"],
        packages=tuple(params["packages"]),
        programs=tuple(params["programs"]),
        archive_url=params["archive_url"],
        archive_keyring=params["archive_keyring"],
    )
    wanted.check()
    root = Path(params["root"])
    directory = wanted.directory(root)
    is_wanted = params["state"] == "present"
    found = package_root.read(wanted, root)
    was_there = directory.exists()
    changed = found is None if is_wanted else was_there
    if changed and not check_mode and is_wanted:
        found = package_root.make(wanted, root)
    elif changed and not check_mode:
        remove_tree(directory)
    described = found if found and is_wanted else {"programs": {}, "packages": {}}
    names = ([str(directory)] if was_there else [], [str(directory)] if is_wanted else [])
    return {
        "changed": changed,
        "directory": str(directory),
        "programs": described["programs"],
        "packages": described["packages"],
        "diff": diff("roots", *names),
    }


if __name__ == "__main__":
    main()
