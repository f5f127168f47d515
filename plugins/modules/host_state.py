#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Take a snapshot of a host's settings, or put back what was changed
description:
  - A snapshot holds every setting that the modules M(nvmelab.bench.cpupower),
    M(nvmelab.bench.quiet_host), M(nvmelab.bench.kernel_cmdline) and M(nvmelab.bench.hugepages)
    know, and nothing that changes by itself. Two snapshots of an untouched host are equal.
  - O(state=restored) puts back what M(nvmelab.bench.cpupower) and M(nvmelab.bench.quiet_host) have
    changed, as they recorded it in C(host_state.json) in the lab directory; also what a killed play
    has left. What was changed before the last boot ended with that boot.
  - Hugepages are given back by M(nvmelab.bench.hugepages), kernel arguments by
    M(nvmelab.bench.kernel_cmdline), both with C(state=absent).
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  state:
    description:
      - V(snapshot) reads only. V(restored) is refused while a run is being executed on the host,
        for it would alter what that run measures.
    type: str
    choices: [snapshot, restored]
    default: snapshot
  only_run:
    description: Put back only what a run has changed, not what a play of your own has.
    type: bool
    default: false
extends_documentation_fragment: nvmelab.bench.lab_host
attributes:
  check_mode:
    support: full
    description: Tells what would be put back.
  diff_mode:
    support: full
    description: Shows each setting that it puts back.
"""

EXAMPLES = r"""
- name: Take a snapshot
  nvmelab.bench.host_state:
  register: before

- name: Put everything back
  nvmelab.bench.host_state:
    state: restored

- name: Put back what a killed run has left
  nvmelab.bench.host_state:
    state: restored
    only_run: true
  when: before.left_tuned and not before.left_tuned.is_live
"""

RETURN = r"""
snapshot:
  description: The settings as they are now.
  returned: for O(state=snapshot)
  type: dict
  contains:
    knobs:
      description: Values by setting and place, such as a file of the kernel.
      type: dict
    kernel_cmdline:
      description:
        - C(running), the arguments of the running kernel; C(configured), those of the boot loader's
          first entry, null without a known boot loader.
      type: dict
    hugepages:
      description: Reserved pages of each size and NUMA node.
      type: dict
left_tuned:
  description: Which run has tuned this host and not put it back yet; null when none has.
  returned: for O(state=snapshot)
  type: dict
  contains:
    run_id:
      description: The run; null when it has reserved hugepages only.
      type: str
    tuned_at:
      description: When it began to, in UTC.
      type: str
    hugepages_run_id:
      description: The run that has reserved hugepages; null when none has.
      type: str
    is_live:
      description: Whether that run is still being executed.
      type: bool
live_run:
  description: The run that is being executed on this host now; null when none is.
  returned: for O(state=snapshot)
  type: str
restored:
  description: The settings that were put back.
  returned: for O(state=restored)
  type: list
  elements: str
remarks:
  description: What a person should know, such as that somebody else had changed a setting.
  returned: for O(state=restored)
  type: list
  elements: str
rows:
  description: One row a setting, as M(nvmelab.bench.host_audit) returns it, with nothing asked.
  returned: for O(state=restored)
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import record, tuning
from ansible_collections.nvmelab.bench.plugins.module_utils.host.machine_lock import alone
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import (
    LAB_HOST,
    lab_directory,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import tuned_host

ARGUMENTS = {
    "state": {"type": "str", "choices": ["snapshot", "restored"], "default": "snapshot"},
    "only_run": {"type": "bool", "default": False},
    **LAB_HOST,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    system = Path(options["root"])
    lab = lab_directory(options)
    try:
        if options["state"] == "snapshot":
            answer = snapshot(lab, system)
        else:
            with alone(system, check_mode=module.check_mode):
                answer = restored(options, lab, system, is_dry=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer)


def snapshot(lab: Path, system: Path) -> dict[str, Any]:
    """Return the settings of now, and who has tuned them."""
    return {
        "changed": False,
        "snapshot": tuned_host.snapshot(system),
        "left_tuned": tuned_host.left_tuned(lab, system),
        "live_run": tuned_host.live_run(lab),
    }


def restored(options: dict[str, Any], lab: Path, system: Path, *, is_dry: bool) -> dict[str, Any]:
    """Return what was put back, or would be.

    Raises:
        NvmelabError: a run is being executed, or something cannot be put back.
    """
    live = tuned_host.live_run(lab)
    if live:
        raise NvmelabError(
            f"run {live} is being executed on this host, and putting settings back would alter "
            f"what it measures; wait for its end, or stop it: playbooks/stop.yml "
            f"-e nvmelab_run_id={live}"
        )
    outcome = tuning.restore(
        system,
        lab / record.NAME,
        check_mode=is_dry,
        only_run=options["only_run"],
    )
    return {
        "changed": outcome.changed,
        "restored": [entry["before_header"] for entry in outcome.diff],
        "remarks": outcome.remarks,
        "rows": [row.as_dict() for row in outcome.rows],
        "diff": outcome.diff,
    }


if __name__ == "__main__":
    main()
