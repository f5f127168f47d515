#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_cmdline
short_description: Have the kernel booted with given arguments, or take them away again
description:
  - Tells the boot loader the arguments, compares the boot configuration that comes out with what is
    wanted, and compares the running kernel. It does not reboot.
  - Knows GRUB as Debian and Ubuntu have it (a drop-in of its own and update-grub), grubby,
    systemd-boot (a line of its own in C(/etc/kernel/cmdline) and kernel-install), and extlinux as
    made by u-boot-menu (a drop-in of its own and u-boot-update). Elsewhere it refuses.
  - A run that failed or was killed is made up for by the next one, for what counts is what the boot
    configuration holds.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  arguments:
    description:
      - The arguments, one each, in the order wanted; a value with blanks is quoted (V(name="a b")).
      - The last of a name is in force; of C(hugepages) the sequence with its sizes counts.
      - Empty is the same as O(state=absent).
    type: list
    elements: str
    default: []
  state:
    description:
      - V(absent) puts back what was there before, whatever O(arguments) says.
    type: str
    choices: [present, absent]
    default: present
  root:
    description: Root folder of the machine. Another than V(/) is for tests.
    type: path
    default: /
attributes:
  check_mode:
    support: full
    description: Tells which files would be written and which commands would be run.
  diff_mode:
    support: full
    description: Shows the files that it writes and the commands that it runs.
"""

EXAMPLES = r"""
- name: Reserve hugepages when the host boots
  nvmelab.bench.kernel_cmdline:
    arguments: [hugepagesz=1G, hugepages=8]
  register: cmdline

- name: Take them away again
  nvmelab.bench.kernel_cmdline:
    state: absent
"""

RETURN = r"""
boot_loader:
  description: V(grub), V(grubby), V(systemd-boot) or V(extlinux); null when nothing is to do.
  returned: success
  type: str
wanted:
  description: The arguments as the kernel reads them, without quotes.
  returned: success
  type: list
  elements: str
running:
  description: The arguments of the running kernel, from C(/proc/cmdline).
  returned: success
  type: list
  elements: str
configured:
  description:
    - The arguments that the first entry of the boot configuration holds; in check mode, as it is.
  returned: success
  type: list
  elements: str
missing:
  description: Those wanted that are not in force in the running kernel.
  returned: success
  type: list
  elements: str
surplus:
  description:
    - Those of the running kernel that bear a wanted name and are not the wanted ones (duplicates
      too), and those that were ours and are not wanted any more.
  returned: success
  type: list
  elements: str
complaints:
  description:
    - What the running kernel said in its log against arguments that it was booted with, such as one
      that it does not know or a value that it does not understand; each is a warning too. Empty
      once the log has lost what was said at boot.
  returned: success
  type: list
  elements: str
  sample:
    - "hugepages=x: the kernel's log says: HugeTLB: Invalid hugepages parameter x"
reboot_required:
  description: Whether a boot would bring one that is missing, or take away one that was ours.
  returned: success
  type: bool
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/default/grub.d/90-nvmelab.cfg, run /usr/sbin/update-grub]
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_change import converge
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import Machine
from ansible_collections.nvmelab.bench.plugins.module_utils.host.machine_lock import alone
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import MACHINE

ARGUMENTS = {
    "arguments": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **MACHINE,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    words = module.params["arguments"] if module.params["state"] == "present" else []
    machine = Machine(Path(module.params["root"]))
    try:
        with alone(machine.root, check_mode=module.check_mode):
            outcome = converge(machine, words, check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    for complaint in outcome.complaints:
        module.warn(complaint)
    module.exit_json(changed=bool(outcome.actions), **asdict(outcome))


if __name__ == "__main__":
    main()
