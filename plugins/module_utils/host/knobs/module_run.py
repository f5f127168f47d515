# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which the modules cpupower and quiet_host set a group of knobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import record, tuning
from ansible_collections.nvmelab.bench.plugins.module_utils.host.machine_lock import alone
from ansible_collections.nvmelab.bench.plugins.module_utils.module_options import (
    LAB_HOST,
    lab_directory,
)


def run(group: str, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Run the module of a group: tune or restore, and end with its result.

    Args:
        group: name of the module, and of the knobs' group.
        settings: the argument spec of its option ``settings``.
    """
    module = AnsibleModule(argument_spec=_arguments(settings), supports_check_mode=True)
    try:
        with alone(Path(module.params["root"]), check_mode=module.check_mode):
            outcome = _carry_out(group, module.params, check_mode=module.check_mode)
    except (OSError, NvmelabError) as error:
        module.fail_json(msg=str(error))
    for remark in outcome.remarks:
        module.warn(remark)
    module.exit_json(
        changed=outcome.changed,
        rows=[row.as_dict() for row in outcome.rows],
        remarks=outcome.remarks,
        diff=outcome.diff,
    )


def _arguments(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "settings": {"type": "dict", "default": {}, "options": dict(settings)},
        "run_id": {"type": "str"},
        **LAB_HOST,
    }


def _carry_out(group: str, options: Mapping[str, Any], *, check_mode: bool) -> tuning.Outcome:
    system = Path(options["root"])
    path = lab_directory(options) / record.NAME
    if options["state"] == "absent":
        return tuning.restore(system, path, [group], check_mode=check_mode)
    return tuning.tune(
        system, path, group, options["settings"], options["run_id"], check_mode=check_mode
    )
