#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, ask after, or stop the execution of a plan on a lab host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_run
short_description: Run a plan on a lab host and leave a run directory
version_added: 0.1.0
description:
  - Executes a plan, as made by C(python -m nvmelab plan), on the lab host, starting and stopping
    the storage targets and guests that it names. The executor is detached from Ansible; the run
    directory is complete even if the control node dies.
  - In a play the task waits for the end of the run and shows its progress. A run is continued when
    it is started again with the same plan; points that were measured well are not run again.
  - The task fails when the run does not end complete. What was measured is kept.
options:
  state:
    description:
      - V(started) runs the plan and waits for its end.
      - V(result) returns the summary of a run that has ended.
      - V(stopped) ends a run and everything it started. A run that is not there is no error.
    type: str
    choices: [started, result, stopped]
    default: started
  plan:
    description: The plan. Required for O(state=started).
    type: dict
  run_id:
    description: The run, when it is not told by O(plan).
    type: str
  capabilities:
    description:
      - What the host can run, as returned by M(nvmelab.bench.capabilities_info). Required for
        O(state=started).
    type: dict
  lease_s:
    description:
      - A run that nobody asks after for so many seconds is ended, as the control node may be gone.
        V(0) lets it go on for ever.
    type: int
    default: 120
  poll_s:
    description: Seconds between two looks at the progress.
    type: float
    default: 2
  wait:
    description:
      - Whether O(state=started) waits for the end of the run. Without waiting nobody renews the
        lease, see O(lease_s).
    type: bool
    default: true
  host_state:
    description:
      - What is asked of the host's settings. They are compared with it before and after the run,
        and what moves meanwhile is recorded with each point; both are in the verdicts. This module
        sets none of them but what has to be held during the run.
    type: dict
    suboptions:
      tuning:
        description:
          - V(off) looks at nothing. V(audit) compares and watches. V(enforce) also holds
            C(dma_latency_us) of C(cpupower), where it is asked, from before the first point until
            after the last; the other settings are for the roles that set them.
        type: str
        choices: ["off", audit, enforce]
        default: "off"
      asked:
        description: What is asked, as M(nvmelab.bench.host_audit) takes it.
        type: dict
        default: {}
extends_documentation_fragment: nvmelab.bench.lab_root
attributes:
  check_mode:
    description: Says whether something would be run or stopped.
    support: full
author: The nvmelab authors
"""

EXAMPLES = r"""
- name: Probe the host
  nvmelab.bench.capabilities_info:
  register: probed

- name: Run a plan
  nvmelab.bench.bench_run:
    plan: "{{ lookup('ansible.builtin.file', 'plan.json') | from_json }}"
    capabilities: "{{ probed.capabilities }}"

- name: Stop a run
  nvmelab.bench.bench_run:
    state: stopped
    run_id: 20260101T120000Z-quick-1a2b
"""

RETURN = r"""
run:
  description: The manifest's essentials.
  returned: when the run has ended
  type: dict
  contains:
    state:
      description: complete, partial, failed or interrupted.
      type: str
    reason:
      description: Why it is not complete.
      type: str
    points_done:
      description: How many points were measured well.
      type: int
    points_failed:
      description: The failed points with their reasons.
      type: list
      elements: dict
    verdict:
      description: clean or tainted, with reasons.
      type: dict
    remarks:
      description: What was odd but no failure, such as a target that crashed when it was stopped.
      type: list
      elements: str
ansible_facts:
  description: The rows as a fact.
  returned: when the run has ended
  type: dict
  contains:
    nvmelab_rows:
      description: One row a point, job and direction, without histograms.
      type: list
      elements: dict
rows_left_out:
  description: How many rows there are when they are too many to be returned, else 0.
  returned: when the run has ended
  type: int
run_directory:
  description: Where the run lies on the lab host.
  returned: always
  type: str
pid:
  description: The process that supervises the run.
  returned: for O(state=started), before the run has ended
  type: int
"""

import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import LAB_ROOT
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    executor,
    host_state,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    daemon as executor_daemon,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    result as run_result,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

HOST_STATE = {
    "tuning": {"type": "str", "choices": list(host_state.MODES), "default": "off"},
    "asked": {"type": "dict", "default": {}},
}
ARGUMENTS = {
    "state": {"type": "str", "choices": ["started", "result", "stopped"], "default": "started"},
    **LAB_ROOT,
    "plan": {"type": "dict"},
    "run_id": {"type": "str"},
    "capabilities": {"type": "dict"},
    "lease_s": {"type": "int", "default": 120},
    "poll_s": {"type": "float", "default": 2},
    "wait": {"type": "bool", "default": True},
    "host_state": {"type": "dict", "options": HOST_STATE},
}


def started(params: dict[str, Any], *, is_dry: bool) -> dict[str, Any]:
    """Return where the run lies and who executes it; it goes on after this process has ended."""
    plan = params["plan"]
    if not plan["points"]:
        raise BadInputError("plan: has no points; nothing would be measured")
    request = host_state.Request(**(params["host_state"] or {}))
    request.check()
    root = Path(params["root"])
    directory = RunDirectory.of(root, plan["run_id"])
    found: dict[str, Any] = {"run_directory": str(directory.path)}
    if is_dry:
        return {**found, "changed": not _is_complete(directory), "pid": None}
    is_new = directory.create(plan)
    if _is_complete(directory):
        return {**found, "changed": False, "pid": None}
    job = executor.Job(
        directory=directory,
        capabilities=params["capabilities"],
        agent_source=agent_connection.agent_source(),
        host_state=request,
    )
    try:
        launched = executor_daemon.launch(job, root=root, lease_s=params["lease_s"])
    except executor_daemon.BusyHostError:
        if is_new:  # or it would be collected as a run that was interrupted at once
            shutil.rmtree(directory.path)
        raise
    return {**found, "changed": True, "pid": launched.pid}


def _is_complete(directory: RunDirectory) -> bool:
    manifest = directory.manifest() if directory.path.is_dir() else None
    return manifest is not None and manifest["state"] == "complete"


def result(directory: RunDirectory) -> dict[str, Any]:
    """Return the summary of a run that has ended."""
    if not directory.path.is_dir():
        raise BadInputError(f"{directory.path}: no such run on this host")
    found = run_result.summary(directory)
    return {
        "changed": False,
        "run_directory": str(directory.path),
        "run": found["run"],
        "rows_left_out": found["rows_left_out"],
        "ansible_facts": {"nvmelab_rows": found["rows"]},
        "failure": None if _is_complete(directory) else run_result.failure(directory),
    }


def stopped(directory: RunDirectory, *, is_dry: bool) -> dict[str, Any]:
    """Return whether there was anything to stop."""
    answer: dict[str, Any] = {"run_directory": str(directory.path), "changed": False}
    if directory.path.is_dir():
        answer["changed"] = directory.is_live() if is_dry else executor_daemon.stop(directory)
    return answer


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("state", "started", ("plan", "capabilities"))],
        required_one_of=[("plan", "run_id")],
    )
    params = module.params
    root = Path(params["root"])
    try:
        if params["state"] == "started":
            answer = started(params, is_dry=module.check_mode)
        else:
            directory = RunDirectory.of(root, params["run_id"] or params["plan"]["run_id"])
            answer = (
                result(directory)
                if params["state"] == "result"
                else stopped(directory, is_dry=module.check_mode)
            )
    except NvmelabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
