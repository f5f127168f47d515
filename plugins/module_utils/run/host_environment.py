# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab host as a place for points: the ceilings that no guest takes part in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_affinity import affinity
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.run import agent_connection
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    EnvironmentLostError,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Target
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import (
        AgentConnection,
    )
    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend


class HostEnvironment(Environment):
    """fio on the lab host itself, on files that this makes and removes."""

    def __init__(self, name: str, spec: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(name, spec, settings)
        self._files: dict[str, Backend] = {}
        known = settings.capabilities.get("fio")
        self._fio = known["path"] if known else "fio"

    def start(self) -> None:
        """Make the files."""
        for spec in self.spec["host_files"]:
            self.settings.say(f"making {spec['name']}")
            self._files[spec["name"]] = backends.create(
                spec["backend"], name=spec["name"], directory=self.settings.directory.path
            )

    def stop(self) -> None:
        """Remove the files."""
        super().stop()
        while self._files:
            backends.remove(self._files.popitem()[1])

    def check(self) -> None:
        """The host is where this code runs."""

    def target(self, point: Mapping[str, Any]) -> Target:
        """Return the file of the point's device, or the path that it names itself."""
        if point["device"] is None:
            return Target(filename=point.get("filename"))
        file = self._files.get(point["device"])
        if file is None or file.path is None:
            raise EnvironmentLostError(
                f"plan: point {point['id']} wants host file {point['device']!r}; files of "
                f"environment {self.name!r}: {', '.join(self._files) or 'none'}",
                is_final=True,
            )
        return Target(filename=file.path)

    def commands(self) -> dict[str, Any]:
        """Nothing runs here but fio, which each point's record names."""
        return {}

    def _new_connection(self) -> AgentConnection:
        """Start the agent, and with it every fio, on the CPUs that the plan names."""
        text = self.spec.get("cpus")
        with affinity(parse_cpu_list(text) if text else None, self.name):
            return super()._new_connection()

    def agent_argv(self) -> list[str]:
        """Return the command of an agent on this host."""
        return agent_connection.local_argv(self._fio, self.settings.directory.run_id)
