# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with its storage targets as a place for points."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import boot as guest_boot
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import (
    RunningGuest,
    start_guest,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import agent_connection
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    EnvironmentLostError,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Target
from ansible_collections.nvmelab.bench.plugins.module_utils.target import qsd as qsd_target
from ansible_collections.nvmelab.bench.plugins.module_utils.target import spdk as spdk_target
from ansible_collections.nvmelab.bench.plugins.module_utils.target.storage_target import (
    RunningTarget,
    start_target,
)

# guest and storage_target import these when they are called. By then the archive that Ansible
# sent the modules in is gone, so they have to be loaded now.
LOADED_EARLY = (guest_boot, qsd_target, spdk_target)


class GuestEnvironment(Environment):
    """A guest with its storage targets."""

    def __init__(self, name: str, spec: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(name, spec, settings)
        self._targets: list[RunningTarget] = []
        self._guest: Optional[RunningGuest] = None
        self.boots_s: list[float] = []

    def start(self) -> None:
        """Start the targets, then the guest that attaches to them."""
        settings, guest = self.settings, self.spec["guest"]
        self._require("qemu", "QEMU; run the role qemu")
        self._require("guest_image", "guest image; run the role guest_image")
        sockets: dict[str, str] = {}
        for spec in self.spec["targets"]:
            settings.say(f"starting {spec['name']}")
            target = start_target(
                spec, directory=settings.directory.path, capabilities=settings.capabilities
            )
            self._targets.append(target)
            sockets.update(target.sockets)
        settings.say(f"booting {guest['name']}")
        self._guest = start_guest(
            guest,
            directory=settings.directory.path,
            image=settings.capabilities["guest_image"],
            qemu=settings.capabilities["qemu"],
            accelerator=settings.accelerator,
            sockets=sockets,
        )
        self.boots_s.append(self._guest.boot_s)

    def stop(self) -> None:
        """Stop the guest first: a target that goes away under it would stall it."""
        self._signal_targets(signal.SIGCONT)
        with contextlib.ExitStack() as stack:  # each is stopped, whatever the others raise
            for target in self._targets:
                stack.callback(self._stop_target, target)
            if self._guest:
                stack.callback(self._guest.stop)
            stack.callback(super().stop)
        self._targets, self._guest = [], None

    def _stop_target(self, target: RunningTarget) -> None:
        crash = target.stop()
        if crash:
            self.settings.remark(crash)

    def set_aside(self) -> None:
        """Pause guest and targets: a target may poll, which would load the host's CPUs."""
        self._running_guest().pause()
        self._signal_targets(signal.SIGSTOP)

    def take_up(self) -> None:
        """Let targets and guest go on."""
        self._signal_targets(signal.SIGCONT)
        self._running_guest().resume()

    def check(self) -> None:
        """Ask guest and targets; the target first, as a guest suffers from its target's death."""
        for target in self._targets:
            target.check()
        self._running_guest().check()

    def target(self, point: Mapping[str, Any]) -> Target:
        """Return the PCI address of the point's device in the guest."""
        if point["device"] is None:
            return Target()
        return Target(pci_address=self._running_guest().device_address(point["device"]))

    def commands(self) -> dict[str, Any]:
        """Return QEMU's and each target's argument list."""
        guest = self._running_guest()
        targets = {target.name: list(target.argv) for target in self._targets}
        return {guest.name: {"qemu": list(guest.argv)}, **targets}

    def agent_argv(self) -> list[str]:
        """Return the ssh command that starts an agent in the guest."""
        command = agent_connection.remote_command("fio", self.settings.directory.run_id)
        return list(self._running_guest().ssh.argv(command))

    def _require(self, capability: str, remedy: str) -> None:
        if not self.settings.capabilities.get(capability):
            raise EnvironmentLostError(f"{self.name}: this host has no {remedy}", is_final=True)

    def _running_guest(self) -> RunningGuest:
        if self._guest is None:
            raise EnvironmentLostError(f"{self.name}: the guest is not running")
        return self._guest

    def _signal_targets(self, number: signal.Signals) -> None:
        for target in self._targets:
            with contextlib.suppress(ProcessLookupError):
                if processes.is_alive(target.process):
                    os.killpg(target.process.pid, number)
