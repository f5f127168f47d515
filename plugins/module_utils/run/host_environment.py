# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab host as a place for points: the ceilings that no guest takes part in."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.client import command, workload
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_affinity import affinity
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    point_command,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    EnvironmentLostError,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Target
from ansible_collections.nvmelab.bench.plugins.module_utils.run.targets import Targets
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    backends,
    spdk,
    spdk_bdev_file,
)

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import (
        AgentConnection,
    )
    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend


class HostEnvironment(Environment):
    """A client on the lab host itself: on files that this makes, on a target, or on a bdev."""

    def __init__(self, name: str, spec: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(name, spec, settings)
        self._files: dict[str, Backend] = {}
        self._bdev_files: dict[str, Path] = {}
        self._bdevs = {
            one["name"]: one["backend"]
            for one in spec["host_files"]
            if spdk_bdev_file.is_bdev(one["backend"])
        }
        self._targets = Targets(settings)
        known = settings.capabilities.get("fio")
        self._fio = known["path"] if known else "fio"
        self._programs = _programs(settings.capabilities.get("spdk") or {})

    @property
    def polls(self) -> bool:
        """Whether it keeps CPUs busy also while none of its points runs."""
        return bool(self.spec["targets"])

    def start(self) -> None:
        """Make the files and start the targets."""
        directory = self.settings.directory.path
        self._runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        for spec in self.spec["host_files"]:
            name, backend = spec["name"], spec["backend"]
            self.settings.say(f"making {name}")
            if name in self._bdevs:
                path = spdk_bdev_file.write(backend, name=name, directory=directory)
                self._bdev_files[name] = path
            else:
                self._files[name] = backends.create(backend, name=name, directory=directory)
        self._targets.start(self.spec["targets"])

    def stop(self) -> None:
        """Stop the targets, then remove the files."""
        with contextlib.ExitStack() as stack:  # each goes, whatever the others raise
            stack.callback(shutil.rmtree, self._runtime, ignore_errors=True)
            for name, path in self._bdev_files.items():
                stack.callback(self._remove, name, path)
            for backend in self._files.values():
                stack.callback(backends.remove, backend)
            stack.callback(self._targets.stop)
            stack.callback(super().stop)
        self._bdev_files, self._files = {}, {}

    def _remove(self, name: str, path: Path) -> None:
        directory = self.settings.directory.path
        odd = spdk_bdev_file.remove(self._bdevs[name], path, name=name, directory=directory)
        if odd:
            self.settings.remark(odd)

    def check(self) -> None:
        """Ask the targets; the host itself is where this code runs."""
        self._targets.check()

    def target(self, point: Mapping[str, Any]) -> Target:
        """Return the file, bdev or controller of the device, or the path that the point names."""
        cpus = self._client_cpus(point)
        device = point["device"]
        if device is None:
            return Target(filename=point.get("filename"), cpus=cpus)
        if device in self._bdev_files:
            bdev = spdk_bdev_file.bdev_of(self._bdevs[device])
            return Target(filename=str(self._bdev_files[device]), bdev=bdev, cpus=cpus)
        socket = self._targets.sockets().get(device)
        if socket:
            return Target(transport_id=_transport_id(device, socket), cpus=cpus)
        file = self._files.get(device)
        if file is None or file.path is None:
            raise EnvironmentLostError(
                f"plan: point {point['id']} wants host file {device!r}; files of "
                f"environment {self.name!r}: {', '.join(self._files) or 'none'}",
                is_final=True,
            )
        return Target(filename=file.path, cpus=cpus)

    def commands(self) -> dict[str, Any]:
        """Return the targets' argument lists; those of clients are in each point's record."""
        return self._targets.commands()

    def _client_cpus(self, point: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the CPUs that the experiment names for the client.

        A client that polls must not share its CPU with a target that polls: each would wait for
        the other's time slice. So where nobody says, it is kept off the targets' CPUs.
        """
        if point.get("client_cpus"):
            return tuple(parse_cpu_list(point["client_cpus"]))
        if not self.polls and point.get("client", workload.FIO) == workload.FIO:
            return ()
        text = self.spec.get("cpus")
        allowed = parse_cpu_list(text) if text else sorted(os.sched_getaffinity(0))
        taken = {cpu for one in self.spec["targets"] for cpu in spdk.reactor_cpus(one)}
        return tuple([cpu for cpu in allowed if cpu not in taken] or allowed)

    def _new_connection(self) -> AgentConnection:
        """Start the agent, and with it every fio, on the CPUs that the plan names."""
        text = self.spec.get("cpus")
        with affinity(parse_cpu_list(text) if text else None, self.name):
            return super()._new_connection()

    @property
    def _runtime(self) -> Path:
        """Where DPDK makes a folder for each client with SPDK in it, which stays when that ends.

        In /run, where it would be, nobody takes it away. This one goes with the environment, or
        with the backends of a run whose executor was killed. Source: DPDK 25.03, eal_filesystem.c.
        """
        return self.settings.directory.path / "backends" / f"{self.name}.runtime"

    def agent_argv(self) -> list[str]:
        """Return the command of an agent on this host."""
        run_id = self.settings.directory.run_id
        runtime = f"RUNTIME_DIRECTORY={self._runtime}"
        return ["env", runtime, *agent_connection.local_argv(self._fio, run_id)]


def _programs(found: Mapping[str, Any]) -> dict[str, str]:
    """Return SPDK's clients on this host by their names, where there are any."""
    programs = {name: found.get(name) for name in (workload.BDEVPERF, workload.NVME_PERF)}
    plugin = found.get("fio_plugin") or {}
    programs[point_command.FIO_PLUGIN] = plugin.get("path")
    programs[point_command.PLUGIN_FIO] = plugin.get("fio_path")
    return {name: path for name, path in programs.items() if path}


def _transport_id(device: str, socket: str) -> str:
    return command.vfio_user_id(str(Path(socket).parent), spdk.nqn_of(device))
