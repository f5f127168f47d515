# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with its storage targets as a place for points."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    guest_payload,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    EnvironmentLostError,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Target
from ansible_collections.nvmelab.bench.plugins.module_utils.run.targets import Targets
from ansible_collections.nvmelab.bench.plugins.module_utils.run.user_space import UserSpaceDevices

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import RunningGuest
    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import StartingGuest

# From QEMU's start to the first login, on a host that is busy with other things.
BOOT_S = 120.0


class GuestEnvironment(Environment):
    """A guest with its storage targets."""

    def __init__(self, name: str, spec: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(name, spec, settings)
        self._targets = Targets(settings)
        self._starting: Optional[StartingGuest] = None
        self._guest: Optional[RunningGuest] = None
        self._user_space: Optional[UserSpaceDevices] = None
        payload = settings.capabilities.get("guest_payload") or {}
        # The payload's fio drives all stacks of a run, those that could do with the image's too:
        # two versions of fio in one table would compare fio.
        if payload.get("fio"):
            self._fio = payload["fio"]["path"]
        programs = payload.get("programs") or {}
        self._programs = {name: program["path"] for name, program in programs.items()}
        self.boots_s: list[float] = []

    def start(self) -> None:
        """Start the targets, then the guest that attaches to them."""
        self.launch(self.start_targets())
        self.await_login()
        self.prepare()

    def start_targets(self) -> dict[str, str]:
        """Start the targets; the path of each export's socket."""
        self._require("qemu", "QEMU; run the role qemu")
        self._require("guest_image", "guest image; run the role guest_image")
        self._targets.start(self.spec["targets"])
        return self._targets.sockets()

    def launch(self, sockets: Mapping[str, str], *, deadline_s: float = BOOT_S) -> None:
        """Start the guest's QEMU, which attaches to the sockets."""
        settings, guest = self.settings, self.spec["guest"]
        settings.say(f"booting {guest['name']}")
        self._starting = launch_guest(
            guest,
            directory=settings.directory.path,
            image=settings.capabilities["guest_image"],
            qemu=settings.capabilities["qemu"],
            accelerator=settings.accelerator,
            deadline_s=deadline_s,
            sockets=sockets,
        )

    def await_login(self) -> None:
        """Wait for the guest that was launched."""
        starting, self._starting = self._starting, None
        if starting is not None:
            self._guest = starting.wait()
            self.boots_s.append(self._guest.boot_s)

    def starting_trouble(self) -> Optional[NvmelabError]:
        """Return what is wrong already with the guest that is still to be waited for, if it is."""
        try:
            if self._starting:
                self._starting.check()
        except NvmelabError as error:
            return error
        return None

    def prepare(self) -> None:
        """Bring what the guest has not of its own, and take its devices for programs."""
        guest = self._running_guest()
        payload = self.settings.capabilities.get("guest_payload")
        if payload:
            self.settings.say(f"bringing builds into {guest.name}")
            try:
                programs = self.spec["guest"].get("programs", ())
                guest_payload.send(payload, guest.ssh, programs=programs)
            except NvmelabError as error:
                raise EnvironmentLostError(
                    f"{self.name}: the builds of guest_prefixes are not in the guest: {error}"
                ) from error
        self.settings.say(f"preparing {guest.name}")
        self._user_space = UserSpaceDevices(guest, self.spec["guest"])
        self._user_space.take()

    def stop(self) -> None:
        """Stop the guest first: a target that goes away under it would stall it."""
        self._targets.send(signal.SIGCONT)
        with contextlib.ExitStack() as stack:  # each is stopped, whatever the others raise
            stack.callback(self._targets.stop)
            for guest in (self._starting, self._guest):
                if guest:
                    stack.callback(guest.stop)
            if self._user_space:
                stack.callback(self._give_back, self._user_space)
            stack.callback(super().stop)
        self._starting, self._guest, self._user_space = None, None, None

    def _give_back(self, devices: UserSpaceDevices) -> None:
        odd = devices.give_back()
        if odd:
            self.settings.remark(odd)

    def set_aside(self) -> None:
        """Pause guest and targets: a target may poll, which would load the host's CPUs."""
        self._running_guest().pause()
        self._targets.send(signal.SIGSTOP)

    def take_up(self) -> None:
        """Let targets and guest go on."""
        self._targets.send(signal.SIGCONT)
        self._running_guest().resume()

    def check(self) -> None:
        """Ask guest and targets; the target first, as a guest suffers from its target's death."""
        self._targets.check()
        self._running_guest().check()

    def target(self, point: Mapping[str, Any]) -> Target:
        """Return the PCI address of the point's device in the guest, and of its further ones."""
        if point["device"] is None:
            return Target()
        names = self._devices(point)
        first, *more = (self._taken().target(name, point["fio"]) for name in names)
        if not more:
            return first
        refusals = (one.refusal for one in (first, *more) if one.refusal)
        return replace(first, more=tuple(more), names=tuple(names), refusal=next(refusals, None))

    def _taken(self) -> UserSpaceDevices:
        if self._user_space is None:
            raise EnvironmentLostError(f"{self.name}: the guest is not running")
        return self._user_space

    def _devices(self, point: Mapping[str, Any]) -> list[str]:
        """Return the names of the devices that this guest drives in the point."""
        shares = {part["guest"]: part["devices"] for part in point.get("parts", ())}
        return list(shares.get(self.spec["guest"]["name"]) or [point["device"]])

    def commands(self) -> dict[str, Any]:
        """Return QEMU's and each target's argument list."""
        guest = self._running_guest()
        return {guest.name: {"qemu": list(guest.argv)}, **self._targets.commands()}

    def agent_argv(self) -> list[str]:
        """Return the ssh command that starts an agent in the guest."""
        command = agent_connection.remote_command(self._fio, self.settings.directory.run_id)
        return list(self._running_guest().ssh.argv(command))

    def _require(self, capability: str, remedy: str) -> None:
        if not self.settings.capabilities.get(capability):
            raise EnvironmentLostError(f"{self.name}: this host has no {remedy}", is_final=True)

    def _running_guest(self) -> RunningGuest:
        if self._guest is None:
            raise EnvironmentLostError(f"{self.name}: the guest is not running")
        return self._guest
