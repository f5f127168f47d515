# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of one guest that programs drive themselves: taken after the boot, given back after.

All of a guest's are taken at once, before its first point, so that each point finds the guest
alike. One that cannot be taken fails the points of its stack, not those of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import device_node
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_python
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Target

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import RunningGuest

TAKE_S = 120.0
# The guest is about to end: it is not worth more. Its kernel takes a second and a half for each
# device under TCG: 24 were not done in 20 s.
BACK_S = 20.0
BACK_EACH_S = 2.0


class UserSpaceDevices:
    """Those devices of a guest whose plan names a driver other than the kernel's own."""

    def __init__(self, guest: RunningGuest, spec: Mapping[str, Any]) -> None:
        self._guest = guest
        self._spec = spec
        self._drivers = {
            device["name"]: device["driver"]
            for device in spec["devices"]
            if device.get("driver") in USER_SPACE_DRIVERS
        }
        self._before: dict[str, Any] = {}
        self._refusals: dict[str, str] = {}

    def take(self) -> None:
        """Bind them, and reserve the hugepages."""
        if not self._drivers:
            return
        addresses = {self._guest.device_address(name): name for name in self._drivers}
        count = self._spec.get("hugepages_2m")
        wish = {
            "drivers": {address: self._drivers[name] for address, name in addresses.items()},
            "hugepages_2m": count,
        }
        try:
            answer = guest_python.call(self._guest.ssh, wish, deadline_s=TAKE_S)
        except NvmelabError as error:
            self._refusals = dict.fromkeys(self._drivers, f"not bound in the guest: {error}")
            return
        self._before = answer["before"]
        self._refusals = {addresses[one]: why for one, why in answer["refused"].items()}
        if count and answer["hugepages_free"] < count:
            self._refuse_all(self._short(answer["hugepages_free"], count))
        if answer["not_mounted"]:
            self._refuse_all(f"no hugetlbfs in the guest: {answer['not_mounted']}")

    def _refuse_all(self, why: str) -> None:
        for name in self._drivers:
            self._refusals.setdefault(name, why)

    def _short(self, free: int, count: int) -> str:
        return (
            f"the guest has {free} free hugepages of 2 MiB, wanted {count}; it has "
            f"{self._spec['memory_mib']} MiB of memory: set guest: memory_mib to 2048 or more"
        )

    def give_back(self) -> Optional[str]:
        """Bind them back; return what is odd. A guest that does not answer has nothing to give."""
        before, self._before = self._before, {}
        if not before or self._guest.paused:
            return None
        try:
            self._guest.check()
        except NvmelabError:
            return None
        try:
            deadline_s = BACK_S + BACK_EACH_S * len(before)
            answer = guest_python.call(self._guest.ssh, {"back": before}, deadline_s=deadline_s)
        except NvmelabError as error:
            return f"{self._guest.name}: devices not given back to the guest's kernel: {error}"
        return "; ".join(answer["refused"].values()) or None

    def target(self, name: str, options: Mapping[str, Any]) -> Target:
        """Return what fio with these options is aimed at, for a device of the guest."""
        return Target(
            pci_address=self._guest.device_address(name),
            node=device_node.node_of(options, self._drivers.get(name)),
            refusal=self._refusals.get(name),
        )
