# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs points one by one through an agent and leaves each one's files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job
from ansible_collections.nvmelab.bench.plugins.module_utils.host import cpu_load
from ansible_collections.nvmelab.bench.plugins.module_utils.host import movement as host_movement
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    guest_agent,
    point_record,
    verdict,
)

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.agent_connection import (
        AgentConnection,
    )
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

DEVICE_DEADLINE_S = 10.0
# How much longer than expected fio may take before it counts as hung: a guest's NVMe driver
# alone waits 30 s for a dead device before it lets fio report the error.
LIMIT_MARGIN_S = 60.0
LIMIT_FACTOR = 3.0
# For the answer to travel, after fio itself was given up.
ANSWER_S = 30.0


class SweepError(NvmelabError):
    """A point has left its place in a state that no other point can be measured in."""


@dataclass(frozen=True)
class Target:
    """What a point is aimed at: a path, a PCI address, or neither for engines without a file."""

    filename: Optional[str] = None
    pci_address: Optional[str] = None


@dataclass(frozen=True)
class Place:
    """Where points run: the agent there, its fio, and how to ask whether all is well."""

    connection: AgentConnection
    fio: str
    check: Callable[[], None]


class Sweep:
    """Runs points for one run directory."""

    def __init__(
        self,
        directory: RunDirectory,
        host: verdict.HostFacts,
        root_pids: Callable[[], Iterable[int]],
        sensors: Optional[host_movement.Sensors] = None,
    ) -> None:
        self._directory = directory
        self._host = host
        self._root_pids = root_pids
        self._sensors = sensors  # None: what moves is nobody's concern

    def run(
        self, place: Place, point: Mapping[str, Any], target: Target, *, is_first: bool
    ) -> dict[str, Any]:
        """Run one point and return its record; a failing fio is a record too.

        ``is_first``: the time since the point before holds more than the change of points.

        Raises:
            NvmelabError: the place is lost (agent, guest or target gone), no record was written.
        """
        point_record.forget(self._directory, point["id"])
        limit_s = limit_for(point)
        request = {**self._request(place, point, target), "limit_s": limit_s, "is_first": is_first}
        place.connection.request(request)
        wait_s = DEVICE_DEADLINE_S + ANSWER_S
        first = place.connection.event(deadline_s=wait_s, check=place.check)
        if first["event"] == "refused":
            return point_record.failed(self._directory, point, first["cause"])
        started_at, before = time.time(), cpu_load.sample(self._root_pids())
        watch = host_movement.Watch(self._sensors) if self._sensors else None

        def look() -> None:
            place.check()
            if watch:
                watch.tick()

        event = place.connection.event(deadline_s=limit_s + ANSWER_S, check=look)
        if event.get("stuck"):
            pids = ", ".join(map(str, event["stuck"]))
            raise SweepError(
                f"fio did not end within {limit_s:.0f} s and cannot be killed (pid {pids} there): "
                "the device does not answer"
            )
        ended_at, after = time.time(), cpu_load.sample(self._root_pids())
        outcome = point_record.Outcome(
            argv=first["argv"],
            event=event,
            started_at=started_at,
            ended_at=ended_at,
            limit_s=limit_s,
            load=cpu_load.load_between(before, after),
            movement=watch.end() if watch else None,
        )
        return point_record.conclude(self._directory, point, outcome, self._host)

    def fail(self, point: Mapping[str, Any], cause: str) -> dict[str, Any]:
        """Write and return the record of a point that cannot be run."""
        point_record.forget(self._directory, point["id"])
        return point_record.failed(self._directory, point, cause)

    def _request(self, place: Place, point: Mapping[str, Any], target: Target) -> dict[str, Any]:
        name = f"{point['stack']}-{point['workload']}"
        # The agent knows the device's name only when it has found it.
        filename = guest_agent.DEVICE if target.pci_address else target.filename
        return {
            "id": point["id"],
            "argv": fio_job.argv(point["fio"], filename, name=name, fio=place.fio),
            "pci_address": target.pci_address,
            "device_deadline_s": DEVICE_DEADLINE_S,
        }


def limit_for(point: Mapping[str, Any]) -> float:
    """Return after how many seconds fio counts as hung: as the plan says, if it does."""
    if point.get("limit_s"):
        return float(point["limit_s"])
    expected = float(point["expected_s"])
    return max(expected * LIMIT_FACTOR, expected + LIMIT_MARGIN_S)
