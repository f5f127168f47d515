#!/usr/bin/python
# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a list of fio points on this host in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fio_sweep
short_description: Run a list of fio points on this host in one go
version_added: 0.1.0
description:
  - Runs fio once for each point, one after the other, in one module call, as a task for each point
    would cost more time than many a point. The host may be bare metal or a guest.
  - Leaves a run directory with fio's own output, a record for each point, the host's conditions
    and a verdict. Points that were measured well are not run again.
  - The task fails when a point fails; the other points are run all the same.
options:
  directory:
    description: The run directory. One sweep has one; other points need another directory.
    type: path
    required: true
  points:
    description: What to measure, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Names the point, and its files.
        type: str
        required: true
      filename:
        description:
          - The device or file to work on. Left out for engines that need none, and where fio itself
            is to make the file.
        type: str
      fio:
        description: fio's own words; C(rw) at least.
        type: dict
        required: true
  disposable_devices:
    description:
      - Devices whose content may be lost. A point that writes to a device is refused unless the
        device stands here and is not in use.
    type: list
    elements: path
    default: []
  fio_path:
    description: The fio to use.
    type: str
    default: fio
attributes:
  check_mode:
    description: Checks the points and says whether something would be run.
    support: full
  diff_mode:
    support: full
    description: Shows the points that are measured, before and after.
author: The nvmelab authors
"""

EXAMPLES = r"""
- name: Measure two points
  nvmelab.bench.fio_sweep:
    directory: /var/lib/nvmelab/sweeps/first
    points:
      - id: randread-qd1
        filename: /dev/nvme1n1
        fio: {rw: randread, bs: 4k, iodepth: 1, ioengine: libaio, time_based: 1, runtime: 5}
      - id: randwrite-qd32
        filename: /dev/nvme1n1
        fio: {rw: randwrite, bs: 4k, iodepth: 32, ioengine: libaio, time_based: 1, runtime: 5}
    disposable_devices: [/dev/nvme1n1]
  register: sweep
"""

RETURN = r"""
directory:
  description: The run directory.
  returned: always
  type: str
run:
  description: The manifest's essentials, such as state, points_done, points_failed and verdict.
  returned: when the sweep has ended
  type: dict
rows:
  description: One row a point, job and direction, without histograms.
  returned: when the sweep has ended
  type: list
  elements: dict
rows_left_out:
  description: How many rows there are when they are too many to be returned, else 0.
  returned: when the sweep has ended
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    executor,
    sweep_plan,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    result as run_result,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import (
    RunDirectory,
    RunDirectoryError,
    try_lock,
)

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "points": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "filename": {"type": "str"},
            "fio": {"type": "dict", "required": True},
        },
    },
    "disposable_devices": {"type": "list", "elements": "path", "default": []},
    "fio_path": {"type": "str", "default": "fio"},
}


def sweep(params: dict[str, Any], *, is_dry: bool) -> dict[str, Any]:
    """Return the module's result, after the last point has ended."""
    directory = RunDirectory(Path(params["directory"]))
    plan = sweep_plan.plan_of(
        params["points"],
        run_id=directory.run_id,
        disposable_devices=params["disposable_devices"],
    )
    missing = [p["id"] for p in plan["points"] if not directory.is_finished(p["id"])]
    every = [p["id"] for p in plan["points"]]
    answer: dict[str, Any] = {
        "directory": str(directory.path),
        "changed": False,
        "diff": diff("measured points", [i for i in every if i not in missing], every),
    }
    if is_dry:
        return {**answer, "changed": bool(missing)}
    directory.create(plan)
    if missing:
        _execute(directory, params["fio_path"])
        answer["changed"] = True
    found = run_result.summary(directory)
    if found["run"]["state"] != "complete":
        answer.update(failed=True, msg=run_result.failure(directory))
    return {**answer, **found}


def _execute(directory: RunDirectory, fio_path: str) -> None:
    with try_lock(directory.path / "lock", patience_s=1.0) as lock:
        if lock is None:
            raise RunDirectoryError(
                f"{directory.path}: another sweep writes here; wait for its end"
            )
        executor.execute(
            executor.Job(
                directory=directory,
                capabilities={"fio": {"path": fio_path}},
                agent_source=agent_connection.agent_source(),
            )
        )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        answer = sweep(module.params, is_dry=module.check_mode)
    except NvmelabError as error:
        module.fail_json(msg=str(error))
    if answer.get("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
