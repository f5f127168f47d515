# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host_state_request: on the control node alone, so that nothing is touched by a bad wish."""

from __future__ import annotations

from typing import Any, Optional

from ansible.plugins.action import ActionBase

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import state_request

ARGUMENTS = {
    "tuning": {"type": "raw", "default": "audit"},
    "default": {"type": "dict", "required": True},
    "changes": {"type": "raw"},
    "cpus": {"type": "dict"},
}


class ActionModule(ActionBase):
    """Checks and combines; knows no host but by its name."""

    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(
        self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None
    ) -> dict[str, Any]:
        """Return the mode and the whole of what is asked; failed when they make no sense."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            tuning = state_request.tuning_mode(args["tuning"])
            asked = state_request.asked(args["default"], args["changes"], args["cpus"])
        except BadInputError as error:
            host = (task_vars or {}).get("inventory_hostname", "?")
            return {"failed": True, "msg": f"{host}: {error}", "exit_code": error.exit_code}
        return {"changed": False, "tuning": tuning, "asked": asked}
