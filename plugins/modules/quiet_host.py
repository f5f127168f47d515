#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: quiet_host
short_description: Keep interrupts, daemons and the kernel from disturbing a measurement
description:
  - Sets what is asked for until the next boot, reads it back, and leaves everything else alone.
  - All values are recorded in C(host_state.json) in the lab directory before the first write.
    O(state=absent) puts back what was touched. Nothing is changed when one of the settings cannot
    be had, e.g. a CPU that is absent or a C(/sys) that is read-only.
  - A setting that this host does not have is left out, and said in RV(remarks).
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  settings:
    description: What is asked for. A setting that is not named, or null, stays as it is.
    type: dict
    default: {}
    suboptions:
      irqbalance:
        description: Whether irqbalance runs. V(false) stops its service, and does not disable it.
        type: bool
      irq_cpus:
        description:
          - CPUs of all interrupts and of those to come, as a list such as V(0-1). Interrupts that
            the kernel lets nobody move (managed ones of NVMe queues) are left out.
          - Refused while irqbalance runs and is not asked to stop.
        type: str
      numa_balancing:
        description: Whether the kernel moves pages to the NUMA node that uses them.
        type: bool
      thp:
        description:
          - Transparent huge pages, V(always), V(madvise) or V(never). A page size that has a
            setting of its own follows this one.
        type: str
      thp_defrag:
        description:
          - Who waits for memory to be compacted into huge pages. V(always), V(defer),
            V(defer+madvise), V(madvise) or V(never).
        type: str
      ksm:
        description: Whether the kernel merges equal pages. Pages merged already stay so.
        type: bool
      aslr:
        description: Address space randomization; V(0) is none, V(1) some, V(2) is usual.
        type: int
      nmi_watchdog:
        description: Whether the hard-lockup detector interrupts all CPUs.
        type: bool
      timer_migration:
        description: Whether timers of idle CPUs move to busy ones.
        type: bool
      workqueue_cpus:
        description: CPUs of kernel work that is bound to none, as a list such as V(0-1).
        type: str
      sched_autogroup:
        description: Whether each session gets an equal share of CPU time.
        type: bool
      swap:
        description:
          - V(false) turns all swap areas off, if there is memory for what they hold. They come
            back with the same priority and discard policy.
        type: bool
extends_documentation_fragment: [nvmelab.bench.tuned, nvmelab.bench.lab_host]
attributes:
  check_mode:
    support: full
    description: Tells what would be, as if the kernel took every value.
  diff_mode:
    support: full
    description: Shows each setting that changes.
seealso:
  - module: nvmelab.bench.cpupower
"""

EXAMPLES = r"""
- name: Keep interrupts and kernel work on the first two CPUs
  nvmelab.bench.quiet_host:
    settings:
      irqbalance: false
      irq_cpus: 0-1
      workqueue_cpus: 0-1
      thp: never

- name: Put everything back that was touched
  nvmelab.bench.quiet_host:
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
  description: What a person should know, e.g. which settings this host does not have.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import module_run

# Without choices: Ansible would refuse null, which is not to ask. The knobs know them.
SETTINGS = {
    "irqbalance": {"type": "bool"},
    "irq_cpus": {"type": "str"},
    "numa_balancing": {"type": "bool"},
    "thp": {"type": "str"},
    "thp_defrag": {"type": "str"},
    "ksm": {"type": "bool"},
    "aslr": {"type": "int"},
    "nmi_watchdog": {"type": "bool"},
    "timer_migration": {"type": "bool"},
    "workqueue_cpus": {"type": "str"},
    "sched_autogroup": {"type": "bool"},
    "swap": {"type": "bool"},
}


def main() -> None:
    module_run.run("quiet_host", SETTINGS)


if __name__ == "__main__":
    main()
