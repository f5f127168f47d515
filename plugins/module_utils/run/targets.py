# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage targets of an environment: all up, all alive, all down."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.target.storage_target import (
    start_target,
)

if TYPE_CHECKING:
    import signal

    from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import Settings
    from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import RunningTarget


class Targets:
    """None when made; to be stopped also after a start that failed half-way."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: list[RunningTarget] = []

    def start(self, specs: Sequence[Mapping[str, Any]]) -> None:
        """Start one after the other."""
        for spec in specs:
            self._settings.say(f"starting {spec['name']}")
            target = start_target(
                spec,
                directory=self._settings.directory.path,
                capabilities=self._settings.capabilities,
            )
            self._running.append(target)

    def sockets(self) -> dict[str, str]:
        """Return what a client connects to, by the export's name."""
        return {name: path for one in self._running for name, path in one.sockets.items()}

    def commands(self) -> dict[str, list[str]]:
        """Return each one's argument list."""
        return {target.name: list(target.argv) for target in self._running}

    def check(self) -> None:
        """Raise the TargetError of the first that has died."""
        for target in self._running:
            target.check()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to those that live, and to what they started."""
        for target in self._running:
            with contextlib.suppress(ProcessLookupError):
                if processes.is_alive(target.process):
                    os.killpg(target.process.pid, number)

    def stop(self) -> None:
        """Stop each, whatever the others raise; a crash on the way out is remarked."""
        with contextlib.ExitStack() as stack:
            for target in self._running:
                stack.callback(self._stop, target)
        self._running = []

    def _stop(self, target: RunningTarget) -> None:
        crash = target.stop()
        if crash:
            self._settings.remark(crash)
