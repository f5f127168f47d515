# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All environments of a plan: started, paused, resumed and stopped as the points demand."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run.group_environment import (
    GroupEnvironment,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.guest_environment import (
    GuestEnvironment,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.host_environment import (
    HostEnvironment,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_taking

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
        Environment,
        Settings,
    )


class Environments:
    """At most one guest environment is up at a time; it is paused while host points run.

    What polls on the host without a guest is stopped for any other: it starts in a second. Who
    has a real device that another needs is stopped, too: SPDK has it alone.
    """

    def __init__(self, specs: Mapping[str, Mapping[str, Any]], settings: Settings) -> None:
        self._hosts = {
            name: HostEnvironment(name, spec, settings)
            for name, spec in specs.items()
            if not spec["guest"]
        }
        self._guests = {
            name: _guests(name, spec, settings) for name, spec in specs.items() if spec["guest"]
        }
        self._real = {name: nvme_taking.addresses_in(spec) for name, spec in specs.items()}
        self._up: set[str] = set()
        self._paused: set[str] = set()
        self._say = settings.say
        self.commands: dict[str, Any] = {}

    def bring_up(self, name: str) -> Environment:
        """Return the environment, running and alone.

        Raises:
            NvmelabError: it could not be brought up; it is down then.
        """
        self._make_way_for(name)
        wanted = self._of(name)
        try:
            if name not in self._up:
                self._up.add(name)
                wanted.start()
                self.commands.update(wanted.commands())
            elif name in self._paused:
                self._say(f"resuming {name}")
                self._guests[name].take_up()
                self._paused.discard(name)
        except NvmelabError:
            self.take_down(name)
            raise
        return wanted

    def take_down(self, name: str) -> None:
        """Stop an environment if it is up."""
        if name in self._up:
            self._up.discard(name)
            self._paused.discard(name)
            self._of(name).stop()

    def take_all_down(self) -> None:
        """Stop everything, each one whatever the others raise."""
        with contextlib.ExitStack() as stack:
            for name in sorted(self._up):
                stack.callback(self.take_down, name)

    def guest_up(self) -> Optional[str]:
        """Return the guest environment that is up, running or paused."""
        return next(iter(self._up & set(self._guests)), None)

    def boot_s(self) -> list[float]:
        """Return how long each start of a guest took, until its first login."""
        return [seconds for guest in self._guests.values() for seconds in guest.boots_s]

    def _of(self, name: str) -> Environment:
        return self._guests.get(name) or self._hosts[name]

    def _make_way_for(self, name: str) -> None:
        for other in sorted(self._up & set(self._hosts) - {name}):
            if self._hosts[other].polls or self._real[other] & self._real[name]:
                self._say(f"stopping {other}")
                self.take_down(other)
        for other in sorted(self._up & set(self._guests) - {name}):
            if name in self._guests or self._real[other] & self._real[name]:
                self._say(f"stopping {other}")
                self.take_down(other)
            elif other not in self._paused:
                self._pause(other)

    def _pause(self, name: str) -> None:
        self._say(f"pausing {name}")
        try:
            self._guests[name].set_aside()
            self._paused.add(name)
        except NvmelabError:
            # A guest that cannot be paused would disturb: it is started afresh when needed.
            self.take_down(name)


def _guests(
    name: str, spec: Mapping[str, Any], settings: Settings
) -> Union[GuestEnvironment, GroupEnvironment]:
    if spec.get("peers"):
        return GroupEnvironment(name, spec, settings)
    return GuestEnvironment(name, spec, settings)


@contextlib.contextmanager
def environments(
    specs: Mapping[str, Mapping[str, Any]], settings: Settings
) -> Iterator[Environments]:
    """Give the environments of a plan; whatever happens, all are down afterwards."""
    all_of_them = Environments(specs, settings)
    try:
        yield all_of_them
    finally:
        all_of_them.take_all_down()
