#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_audit
short_description: Compare a host's settings with what is asked of them
description:
  - Reads every setting that the modules M(nvmelab.bench.cpupower), M(nvmelab.bench.quiet_host),
    M(nvmelab.bench.kernel_cmdline) and M(nvmelab.bench.hugepages) know, and says for each what is
    asked, what is in force, and whether that is the same. It changes nothing.
  - A setting that the host does not have is not available; that is no difference.
  - What is held only while a run goes on (C(dma_latency_us)) is recorded here, and judged in the
    run's own audits.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  asked:
    description:
      - What is asked, by group. C(cpupower) and C(quiet_host) hold settings by name as the modules
        of these names take them, null for a setting that is only to be recorded; C(kernel_cmdline)
        is a list of arguments, C(hugepages) a list of pages as M(nvmelab.bench.hugepages) takes
        them.
    type: dict
    default: {}
extends_documentation_fragment: nvmelab.bench.lab_host
attributes:
  check_mode:
    support: full
    description: Reads only.
"""

EXAMPLES = r"""
- name: Audit the host
  nvmelab.bench.host_audit:
    asked:
      cpupower: {governor: performance, boost: false}
      quiet_host: {numa_balancing: false}
      kernel_cmdline: [isolcpus=2-7]
  register: audited

- name: Show what differs
  ansible.builtin.debug:
    msg: "{{ audited.rows | selectattr('state', 'eq', 'differs') | map(attribute='text') }}"
"""

RETURN = r"""
rows:
  description: One row a setting.
  returned: success
  type: list
  elements: dict
  contains:
    knob:
      description: The setting's name.
      type: str
    group:
      description: The module that sets it.
      type: str
    asked:
      description: What is asked, as text; null when nothing is.
      type: str
    effective:
      description: What is in force, as text; null when the host does not have it.
      type: str
    state:
      description: V(ok), V(differs), V(unavailable), or V(recorded).
      type: str
    text:
      description: One sentence for a person.
      type: str
verdict:
  description: Its C(state), V(clean) or V(tainted), and C(reasons), each with C(code) and C(text).
  returned: success
  type: dict
duration_s:
  description: How long reading took on the host, in seconds.
  returned: success
  type: float
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import audit
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import (
    LAB_HOST,
    lab_directory,
)

ARGUMENTS = {
    "asked": {"type": "dict", "default": {}},
    **LAB_HOST,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    system = Path(options["root"])
    began = time.monotonic()
    try:
        rows = audit.audit(options["asked"], lab_directory(options), system)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        rows=rows,
        verdict=audit.verdict(rows),
        duration_s=round(time.monotonic() - began, 4),
    )


if __name__ == "__main__":
    main()
