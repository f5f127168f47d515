#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hugepages
short_description: Reserve hugepages per NUMA node, and put everything back
description:
  - Reserves pages of 2 MiB and 1 GiB, on top of those that others use, mounts hugetlbfs where no
    mount of that page size is, and lets users lock memory.
  - The counts before the first change are recorded in C(hugepages.json) in the lab directory. No
    count is shrunk below them, nor below what is in use. O(state=absent) restores them.
  - What the kernel grants is read back. After memory was compacted it is asked again, a few times;
    fewer pages than wished for are a failure, with the figures and the boot arguments to use.
version_added: 0.1.0
author:
  - The nvmelab authors (@nvmelab)
options:
  state:
    description: Whether the pages are reserved, or the host is as it was.
    type: str
    choices: [present, absent]
    default: present
  pages:
    description:
      - Pages that shall be free for us. What was wished for earlier and is not here any more goes
        back to its recorded count.
    type: list
    elements: dict
    default: []
    suboptions:
      page_size:
        description: Size of a page; V(1G) needs the CPU flag pdpe1gb.
        type: str
        choices: [2M, 1G]
        required: true
      count:
        description: How many pages.
        type: int
        required: true
      node:
        description:
          - NUMA node. Without it the count is spread evenly over all nodes with memory.
        type: int
  reserved_at:
    description:
      - V(boot) writes no count, and tells what is there and which boot arguments reserve the pages
        (RV(kernel_args)); mount and limits are made all the same.
    type: str
    choices: [runtime, boot]
    default: runtime
  default_page_size:
    description: Page size that C(default_hugepagesz) in RV(kernel_args) names. By default none.
    type: str
    choices: [2M, 1G]
  try_count:
    description: How often the kernel is asked; memory is compacted before each time but the first.
    type: int
    default: 5
  mounted:
    description: Whether to mount hugetlbfs of a page size that is wished for and mounted nowhere.
    type: bool
    default: true
  memlock_domains:
    description:
      - Users, C(@group) or V(*) who may lock memory, from their next login on. Root is not among
        V(*). None, and the drop-in is removed.
    type: list
    elements: str
    default: []
  memlock_kib:
    description: How much memory each may lock, in KiB. By default without a limit.
    type: int
  run_id:
    description:
      - The run that these pages are for. It is recorded. Pages that a play without it has reserved
        are neither changed then (O(state=present) fails), nor given back (O(state=absent) does
        nothing).
    type: str
extends_documentation_fragment: nvmelab.bench.lab_host
attributes:
  check_mode:
    support: full
    description: Tells what it would reserve, mount and write, as if the kernel granted all of it.
  diff_mode:
    support: full
    description: Shows the counts and the limits.
"""

EXAMPLES = r"""
- name: Reserve 1 GiB on the node of the NVMe device
  nvmelab.bench.hugepages:
    pages:
      - {page_size: 2M, node: 0, count: 512}

- name: Put the host back
  nvmelab.bench.hugepages:
    state: absent
"""

RETURN = r"""
pools:
  description: One row for each page size and NUMA node that is or was wished for.
  returned: success, and when pages are missing
  type: list
  elements: dict
  contains:
    page_size:
      description: V(2M) or V(1G).
      type: str
    node:
      description: NUMA node; -1 where the kernel knows none.
      type: int
    wanted:
      description: Pages wished for.
      type: int
    got:
      description: How many of them there are.
      type: int
    missing:
      description: How many of them there are not.
      type: int
    reserved:
      description: Pages reserved now, with those of others.
      type: int
    free:
      description: Pages that nobody uses now.
      type: int
    reserved_before:
      description: Pages reserved before the first change.
      type: int
missing_count:
  description: Pages missing in all pools. More than 0 with O(reserved_at=boot) only.
  returned: success, and when pages are missing
  type: int
mounts:
  description: Where pages of each size can be had; by the page size.
  returned: success, and when pages are missing
  type: dict
  sample: {2M: /dev/hugepages}
kernel_args:
  description: Arguments that reserve the pages at boot, in the order the kernel needs.
  returned: success, and when pages are missing
  type: list
  elements: str
  sample: [hugepagesz=1G, "hugepages=0:4"]
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages, hugetlb_mounts
from ansible_collections.nvmelab.bench.plugins.module_utils.host.machine_lock import alone
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import (
    LAB_HOST,
    lab_directory,
)

PAGES = {
    "page_size": {"type": "str", "choices": ["2M", "1G"], "required": True},
    "count": {"type": "int", "required": True},
    "node": {"type": "int"},
}
ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "pages": {"type": "list", "elements": "dict", "default": [], "options": PAGES},
    "reserved_at": {"type": "str", "choices": ["runtime", "boot"], "default": "runtime"},
    "default_page_size": {"type": "str", "choices": ["2M", "1G"]},
    "try_count": {"type": "int", "default": hugepages.DEFAULT_TRY_COUNT},
    "mounted": {"type": "bool", "default": True},
    "memlock_domains": {"type": "list", "elements": "str", "default": []},
    "memlock_kib": {"type": "int"},
    "run_id": {"type": "str"},
    **LAB_HOST,
}


@dataclass(frozen=True)
class Intent:
    """What was found, and what shall be; made without touching anything."""

    system: Path
    record_path: Path
    record: hugepages.Record
    folders: list[str]
    now: hugepages.State
    wishes: hugepages.Wishes
    steps: list[hugepages.Step]
    mounts_made: list[hugetlb_mounts.OwnMount]
    mounts_taken: list[hugetlb_mounts.OwnMount]
    points: dict[str, str]
    limits_before: str
    limits: str


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = dict(module.params)
    if options["state"] == "absent":
        options.update(pages=[], memlock_domains=[], reserved_at="runtime")
    try:
        with alone(Path(options["root"]), check_mode=module.check_mode):
            if options["run_id"] and are_a_users(options):
                nothing = {"pools": [], "missing_count": 0, "mounts": {}, "kernel_args": []}
                module.exit_json(changed=False, **nothing)
            result, problem = converge(options, check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    if problem and not module.check_mode:
        module.fail_json(msg=problem, **result)
    if problem:
        module.warn(problem)
    module.exit_json(**result)


def converge(options: dict[str, Any], *, check_mode: bool) -> tuple[dict[str, Any], Optional[str]]:
    """Return the module's result, and why the host is not as it was asked for, if it is not."""
    intent = intend(options)
    if check_mode:
        after = hugepages.expected(intent.now, intent.steps)
    else:
        after = carry_out(intent, options)
    result = describe(intent, after, options)
    problem = find_problem(options, result)
    if options["state"] == "absent" and not problem and not check_mode:
        forget(intent)
    return result, problem


def are_a_users(options: dict[str, Any]) -> bool:
    """Return whether what is reserved is not a run's, so that a run has nothing to give back.

    Raises:
        HugepagesError: a run wants to reserve; two records of what was before cannot be kept.
    """
    path = record_path_of(options)
    is_users = path.exists() and hugepages.load_record(path, Path(options["root"])).run_id is None
    if is_users and options["state"] == "present":
        raise hugepages.HugepagesError(
            f"{path}: found pages that a play of yours has reserved, wanted none but a run's; "
            "leave hugepages out of nvmelab_host_state, or undo that play (hugepages_state: absent)"
        )
    return is_users


def record_path_of(options: dict[str, Any]) -> Path:
    """Return where it is remembered how the host was."""
    return lab_directory(options) / hugepages.RECORD_NAME


def intend(options: dict[str, Any]) -> Intent:
    """Return what there is to do; refuse what cannot be done."""
    system = Path(options["root"])
    record_path = record_path_of(options)
    now = hugepages.read_state(system)
    wishes = hugepages.resolve(options["pages"], now, system)
    limits = hugetlb_mounts.limits_text(options["memlock_domains"], options["memlock_kib"])
    sizes = {pool.page_size for pool, count in wishes.items() if count and options["mounted"]}
    make, take, points = hugetlb_mounts.plan_mounts(system, sizes)
    files = [record_path] if options["state"] == "present" else []
    files += [system / hugetlb_mounts.LIMITS_FILE] if limits else []
    folders = hugetlb_mounts.absent_folders(files)
    record = replace(hugepages.load_record(record_path, system), run_id=options["run_id"])
    record = record.extended(now, wishes, folders)
    steps = planned(options, now, record, wishes)
    hugepages.refuse_impossible(system, steps)
    return Intent(
        system=system,
        record_path=record_path,
        record=record,
        folders=folders,
        now=now,
        wishes=wishes,
        steps=steps,
        mounts_made=make,
        mounts_taken=take,
        points=points,
        limits_before=hugetlb_mounts.limits_now(system),
        limits=limits,
    )


def planned(
    options: dict[str, Any],
    now: hugepages.State,
    record: hugepages.Record,
    wishes: hugepages.Wishes,
) -> list[hugepages.Step]:
    """Return the counts to write; none when the boot loader shall see to them."""
    if options["reserved_at"] == "boot":
        return []
    return hugepages.plan(now, record.before, wishes)


def carry_out(intent: Intent, options: dict[str, Any]) -> hugepages.State:
    """Do it, and return the counts that the kernel then has."""
    if options["state"] == "present":
        hugetlb_mounts.make_folders(intent.folders)
        intent.record.save(intent.record_path)
    for own in intent.mounts_taken:
        own.unmount()
    for own in intent.mounts_made:
        own.mount()
    if intent.limits != intent.limits_before:
        hugetlb_mounts.write_limits(intent.system, intent.limits)
    # Read again: unmounting has freed the pages of files that a killed process left.
    now = hugepages.read_state(intent.system)
    steps = planned(options, now, intent.record, intent.wishes)
    hugepages.apply(intent.system, steps, try_count=options["try_count"])
    return hugepages.read_state(intent.system)


def describe(intent: Intent, after: hugepages.State, options: dict[str, Any]) -> dict[str, Any]:
    """Return the module's result."""
    before = intent.record.before
    pools = hugepages.rows(after, before, intent.wishes)
    counts = [hugepages.describe(state, before) for state in (intent.now, after)]
    texts = [
        ("hugepages", counts[0], counts[1]),
        (hugetlb_mounts.LIMITS_FILE, intent.limits_before, intent.limits),
    ]
    return {
        "changed": bool(intent.mounts_made or intent.mounts_taken)
        or any(old != new for _, old, new in texts),
        "pools": pools,
        "missing_count": sum(pool["missing"] for pool in pools),
        "mounts": intent.points,
        "kernel_args": hugepages.kernel_args(options["pages"], options["default_page_size"]),
        "diff": [
            {"before_header": name, "before": old, "after_header": name, "after": new}
            for name, old, new in texts
            if old != new
        ],
    }


def find_problem(options: dict[str, Any], result: dict[str, Any]) -> Optional[str]:
    """Return why the host is not as it was asked for, or None."""
    if options["state"] == "absent":
        return hugepages.left_over(result["pools"])
    if options["reserved_at"] == "boot":
        return None
    return hugepages.shortfall(result["pools"], result["kernel_args"], options["try_count"])


def forget(intent: Intent) -> None:
    """Remove the record and the folders that had to be made: nothing is left to undo."""
    intent.record_path.unlink(missing_ok=True)
    hugetlb_mounts.remove_folders(intent.record.folders)


if __name__ == "__main__":
    main()
