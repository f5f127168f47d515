# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several guests, served by the same storage targets, as one place: all of them drive each point.

They are up together or not at all, as a point needs them all. They boot at once as far as the
host has CPUs for them: more would only make each boot longer, towards its deadline.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Mapping, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import guests_of
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_environment
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    EnvironmentLostError,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.guest_environment import (
    GuestEnvironment,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Part, Target


class GroupEnvironment(Environment):
    """The guests of one environment; the first has the storage targets."""

    def __init__(self, name: str, spec: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(name, spec, settings)
        guests = guests_of(spec)
        targets = [spec["targets"], *([] for _ in guests[1:])]
        self._members = {
            guest["name"]: GuestEnvironment(
                guest["name"], {**spec, "guest": guest, "targets": own}, settings
            )
            for guest, own in zip(guests, targets)  # noqa: B905 (strict is Python 3.10's)
        }
        self._first = self._members[guests[0]["name"]]

    @property
    def boots_s(self) -> list[float]:
        """How long each start of each guest took, until its first login."""
        return [seconds for member in self._members.values() for seconds in member.boots_s]

    def start(self) -> None:
        """Start the targets, then the guests."""
        sockets = self._first.start_targets()
        for members in shifts(list(self._members.values()), len(os.sched_getaffinity(0))):
            self._boot(members, sockets)
        for member in self._members.values():
            member.prepare()

    def _boot(self, members: Sequence[GuestEnvironment], sockets: Mapping[str, str]) -> None:
        """Boot some of the guests at once; one that fails ends the wait for the others.

        On a busy host each then takes as long as all would in turn, and may.
        """
        deadline_s = guest_environment.BOOT_S * len(members)
        try:
            for member in members:
                member.launch(sockets, deadline_s=deadline_s)
            self.settings.say(f"booting {', '.join(member.name for member in members)}")
            for member in members:
                member.await_login()
        except NvmelabError as error:
            others = [str(found) for m in members if (found := m.starting_trouble())]
            if not others:
                raise
            causes = "; ".join([str(error), *others])
            raise EnvironmentLostError(causes, log=error.log) from error

    def stop(self) -> None:
        """Stop the last guest first, and the targets after all of them."""
        with contextlib.ExitStack() as stack:  # each is stopped, whatever the others raise
            for member in self._members.values():
                stack.callback(member.stop)

    def set_aside(self) -> None:
        """Pause all guests, then the targets."""
        for member in reversed(self._members.values()):
            member.set_aside()

    def take_up(self) -> None:
        """Let the targets and all guests go on."""
        for member in self._members.values():
            member.take_up()

    def check(self) -> None:
        """Ask the targets and all guests."""
        for member in self._members.values():
            member.check()

    def parts(self, point: Mapping[str, Any]) -> list[Part]:
        """Return each guest's part of the point, by the guest's name."""
        names = [part["guest"] for part in point.get("parts", ())]
        if names != list(self._members):
            raise EnvironmentLostError(
                f"plan: point {point['id']} is for the guests {', '.join(names) or 'none'}; the "
                f"environment {self.name!r} has {', '.join(self._members)}",
                is_final=True,
            )
        return [
            Part(name, member.place(), member.target(point))
            for name, member in self._members.items()
        ]

    def target(self, point: Mapping[str, Any]) -> Target:
        """Return what the first guest's part of the point is aimed at."""
        return self._first.target(point)

    def commands(self) -> dict[str, Any]:
        """Return the argument lists of every QEMU and every target."""
        return {
            name: argv
            for member in self._members.values()
            for name, argv in member.commands().items()
        }

    def agent_argv(self) -> list[str]:
        """Return the command that starts the first guest's agent."""
        return self._first.agent_argv()


def shifts(members: Sequence[GuestEnvironment], cpus: int) -> list[list[GuestEnvironment]]:
    """Return the guests in groups whose vCPUs are no more than the host's, or one guest each."""
    groups: list[list[GuestEnvironment]] = []
    free = 0
    for member in members:
        wanted = member.spec["guest"].get("vcpus", 1)
        if wanted > free or not groups:
            groups.append([])
            free = cpus
        groups[-1].append(member)
        free -= wanted
    return groups
