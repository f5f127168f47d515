#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cpupower
short_description: Set how CPUs choose frequency and idle states, read it back, and undo it
description:
  - Sets governor, frequency limits, boost, energy hints, idle states and SMT through the kernel's
    own files, for all CPUs, and reads every one back. A setting that is left out is not touched.
  - The host as it was before the first change is recorded in C(host_state.json) in the lab
    directory, before anything is written. O(state=absent) puts it back. A reboot does so too.
  - What a host has not (a VM has no frequency control) is told and left out; it is no failure. A
    value that it does not take is one, before anything is changed. When the kernel refuses a value
    halfway, or uses another, what had been changed is put back.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  settings:
    description: What shall be in force. Nothing else is touched.
    type: dict
    default: {}
    suboptions:
      smt:
        description: Whether sibling threads are online. V(false) takes their CPUs offline.
        type: bool
      boost:
        description:
          - Whether CPUs may go above their base frequency. The files are C(intel_pstate/no_turbo),
            or C(cpufreq/boost) with those of each policy.
        type: bool
      governor:
        description: What chooses the frequency, e.g. V(performance), of what the driver offers.
        type: str
      energy_performance_preference:
        description:
          - The hint to CPUs that choose themselves, e.g. V(performance) or V(balance_power).
            intel_pstate and amd-pstate take only V(performance) while the governor is that.
        type: str
      energy_perf_bias:
        description: Intel's older hint, from V(0), performance, to V(15), power saving.
        type: int
      frequency_min_khz:
        description: Lowest frequency in kHz, within what the hardware can do.
        type: int
      frequency_max_khz:
        description: Highest frequency in kHz. Equal to the lowest, the frequency is fixed.
        type: int
      idle_latency_max_us:
        description:
          - Idle states that take longer to leave, in microseconds, are disabled; others enabled.
        type: int
      dma_latency_us:
        description:
          - Bound on the wake-up latency in microseconds. It holds while a process keeps
            C(/dev/cpu_dma_latency) open, so a run holds it; this module only checks the value.
        type: int
extends_documentation_fragment: [nvmelab.bench.tuned, nvmelab.bench.lab_host]
attributes:
  check_mode:
    support: full
    description: Tells what it would set, as if the kernel took all of it.
  diff_mode:
    support: full
    description: Shows each setting before and after.
"""

EXAMPLES = r"""
- name: Have all CPUs run at their base frequency, and wake up at once
  nvmelab.bench.cpupower:
    settings:
      governor: performance
      boost: false
      idle_latency_max_us: 10

- name: Put the host back
  nvmelab.bench.cpupower:
    state: absent
"""

RETURN = r"""
rows:
  description:
    - One row for each setting, recorded ones among them, in the form that
      M(nvmelab.bench.host_audit) returns; none with O(state=absent).
  returned: success
  type: list
  elements: dict
remarks:
  description: What there is to say besides; shown as warnings too.
  returned: success
  type: list
  elements: str
  sample: ["not available on this host, and left out: boost (no boost control)"]
"""

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import module_run

SETTINGS = {
    "smt": {"type": "bool"},
    "boost": {"type": "bool"},
    "governor": {"type": "str"},
    "energy_performance_preference": {"type": "str"},
    "energy_perf_bias": {"type": "int"},
    "frequency_min_khz": {"type": "int"},
    "frequency_max_khz": {"type": "int"},
    "idle_latency_max_us": {"type": "int"},
    "dma_latency_us": {"type": "int"},
}


def main() -> None:
    module_run.run("cpupower", SETTINGS)


if __name__ == "__main__":
    main()
