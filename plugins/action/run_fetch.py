# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the finished runs of a host here: the control node's side."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Any, Optional

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

MODULE = "nvmelab.bench.run_fetch"


class ActionModule(ActionBase):
    """Fetches from one host."""

    _requires_connection = True
    TRANSFERS_FILES = False

    def run(
        self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None
    ) -> dict[str, Any]:
        """Return the module's result, each archive with ``dest``: its path on the control node."""
        super().run(tmp, task_vars)
        dest = Path(self._task.args["dest"])
        answer: dict[str, Any] = self._execute_module(module_name=MODULE, task_vars=task_vars)
        archives = answer.get("archives") or []
        if answer.get("failed") or self._task.check_mode:
            return answer
        left = [archive["path"] for archive in archives if "path" in archive]
        try:
            for archive in archives:
                self._fetch(archive, dest, task_vars)
        except AnsibleConnectionFailure:
            raise
        except (AnsibleError, OSError) as error:
            answer.update(failed=True, msg=f"run {archive['run_id']}: {error}")
        finally:
            for archive in archives:
                archive.pop("content", None)  # neither for the screen nor for callbacks
            self._remove(left)
        return answer

    def _fetch(
        self, archive: dict[str, Any], dest: Path, task_vars: Optional[dict[str, Any]]
    ) -> None:
        """Copy one archive into ``dest``; its checksum is in the name, for the store to check."""
        path = dest / f"{archive['run_id']}.{archive['sha256']}.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        if "content" in archive:
            path.write_bytes(base64.b64decode(archive["content"]))
        elif self._connection.become:
            # The file is another user's than the one that logs in.
            path.write_bytes(self._slurped(archive["path"], task_vars))
        else:
            self._connection.fetch_file(archive["path"], str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != archive["sha256"]:
            path.unlink()
            raise AnsibleError(
                f"arrived with sha256 {digest}, left with {archive['sha256']}: collect again"
            )
        archive["dest"] = str(path)

    def _slurped(self, path: str, task_vars: Optional[dict[str, Any]]) -> bytes:
        answer = self._execute_module(
            module_name="ansible.legacy.slurp", module_args={"src": path}, task_vars=task_vars
        )
        if answer.get("failed"):
            raise AnsibleError(str(answer.get("msg")))
        return base64.b64decode(answer["content"])

    def _remove(self, paths: list[str]) -> None:
        """Remove archives from the host; one that stays behind is overwritten the next time."""
        if paths:
            quoted = " ".join(shlex.quote(path) for path in paths)
            self._low_level_execute_command(f"rm -f -- {quoted}")
