#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: nothing of it runs on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state_request
short_description: Check what is asked of a host's state, before it is touched
version_added: 0.1.0
description:
  - Combines the profile with an inventory's changes, on the control node. A mode, group or setting
    that does not exist is refused with all its faults named.
  - Values are judged on the host, by M(nvmelab.bench.cpupower) and M(nvmelab.bench.quiet_host), for
    what a host takes differs.
options:
  tuning:
    description:
      - V(off), V(audit) or V(enforce). The boolean V(false) is V(off), as YAML reads that word.
    type: raw
    default: audit
  default:
    description: The profile, with every group and every setting that can be asked for.
    type: dict
    required: true
  changes:
    description: What differs from O(default), in the same shape. V(null) takes a wish away.
    type: raw
  cpus:
    description:
      - C(layout) and C(kernel_args) as M(nvmelab.bench.cpu_layout_info) gives them. Its arguments
        are asked for too, and interrupts and work queues on its housekeeping CPUs, where O(changes)
        do not say otherwise.
    type: dict
attributes:
  check_mode:
    description: It changes nothing.
    support: full
author: The nvmelab authors
"""

EXAMPLES = r"""
- name: Check what is asked
  nvmelab.bench.host_state_request:
    tuning: enforce
    default: "{{ nvmelab_host_state_default }}"
    changes: {cpupower: {boost: true}, quiet_host: {thp: null}}
  register: nvmelab_host_state_request
"""

RETURN = r"""
tuning:
  description: The mode.
  returned: success
  type: str
asked:
  description: The profile with the changes, whole.
  returned: success
  type: dict
exit_code:
  description: V(2), the code of bad input.
  returned: failure
  type: int
"""
