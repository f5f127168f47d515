#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_keys
short_description: Make the SSH keys of a lab host, once
description:
  - Makes the key pair that logs in to guests, the guests' own host key, and the known_hosts file
    that names it, all below C(keys) in the lab directory.
  - What is there is never overwritten; modes are set right.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    support: full
    description: Tells what it would make.
  diff_mode:
    support: full
    description: Shows the files that would be made.
"""

EXAMPLES = r"""
- name: Make the keys of the lab
  nvmelab.bench.lab_keys:
"""

RETURN = r"""
keys:
  description:
    - Paths of the files and C(host_key_alias), the name a guest has in known_hosts whatever port it
      is reached at (ssh -o HostKeyAlias=...).
  returned: success
  type: dict
  sample:
    directory: /var/lib/nvmelab/keys
    private_key: /var/lib/nvmelab/keys/id_ed25519
    public_key: /var/lib/nvmelab/keys/id_ed25519.pub
    host_private_key: /var/lib/nvmelab/keys/guest_host_ed25519
    host_public_key: /var/lib/nvmelab/keys/guest_host_ed25519.pub
    known_hosts: /var/lib/nvmelab/keys/known_hosts
    host_key_alias: nvmelab-guest
made:
  description: Names of the files that were made or set right.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import (
    lab_keys,
    make,
    missing,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT


def main() -> None:
    module = AnsibleModule(
        argument_spec=LAB_ROOT,
        supports_check_mode=True,
    )
    keys = lab_keys(Path(module.params["root"]))
    try:
        made = missing(keys) if module.check_mode else make(keys)
    except NvmelabError as error:
        module.fail_json(msg=str(error))
    changes = diff(str(keys.directory), [], made)
    module.exit_json(changed=bool(made), made=made, keys=keys.as_dict(), diff=changes)


if __name__ == "__main__":
    main()
