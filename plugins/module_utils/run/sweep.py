# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs points one by one through an agent and leaves each one's files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import device_node
from ansible_collections.nvmelab.bench.plugins.module_utils.host import cpu_load
from ansible_collections.nvmelab.bench.plugins.module_utils.host import movement as host_movement
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    point_command,
    point_record,
    summing,
    together,
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
    """What a point is aimed at: a path, a PCI address, or neither for engines without a file.

    ``more``: the further devices of the same place that fio drives at once, ``names`` those of
    all, in the same order. ``transport_id``: a controller as SPDK's own clients are told it.
    ``bdev``: which one of the file is meant.
    ``cpus``: where a client on the lab host runs; empty for anywhere. ``node``: which node of the
    device at ``pci_address`` is meant, in the words of fio/device_node.py. ``refusal``: why no
    point can be aimed at it.
    """

    filename: Optional[str] = None
    pci_address: Optional[str] = None
    more: tuple[Target, ...] = ()
    names: tuple[str, ...] = ()
    transport_id: Optional[str] = None
    bdev: Optional[str] = None
    cpus: tuple[int, ...] = ()
    node: str = device_node.BLOCK
    refusal: Optional[str] = None

    @property
    def sought_address(self) -> Optional[str]:
        """The PCI address whose node the agent is to find; None where there is none to find."""
        return None if self.node == device_node.ADDRESS else self.pci_address


@dataclass(frozen=True)
class Place:
    """Where points run: the agent there, its fio, and how to ask whether all is well.

    ``programs``: paths of other clients there, as point_command names them.
    """

    connection: AgentConnection
    fio: str
    check: Callable[[], None]
    programs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One guest's part of a point; ``name`` is None where the whole point is its."""

    name: Optional[str]
    place: Place
    target: Target


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
        self, parts: Sequence[Part], point: Mapping[str, Any], *, is_first: bool
    ) -> dict[str, Any]:
        """Run one point and return its record; a failing fio is a record too.

        ``parts``: one for each guest that takes part. ``is_first``: the time since the point
        before holds more than the change of points.

        Raises:
            NvmelabError: a place is lost (agent, guest or target gone), no record was written.
        """
        refusals = [part.target.refusal for part in parts if part.target.refusal]
        if refusals:
            return self.fail(point, refusals[0])
        point_record.forget(self._directory, point["id"])
        limit_s = limit_for(point)
        more = {"limit_s": limit_s, "is_first": is_first}
        requests = [{**self._request(part.place, point, part.target), **more} for part in parts]

        def check() -> None:
            for part in parts:
                part.place.check()

        talk = together.Talk([together.Speaker(p.name, p.place.connection) for p in parts])
        wait_s = DEVICE_DEADLINE_S + ANSWER_S
        if len(parts) > 1 and any("gate" in request for request in requests):
            wait_s += limit_s  # the guests say that they are ready once all devices are open
        refused = talk.begin(requests, deadline_s=wait_s, check=check)
        if refused:
            return point_record.failed(self._directory, point, refused)
        started_at, before = time.time(), cpu_load.sample(self._root_pids())
        watch = host_movement.Watch(self._sensors) if self._sensors else None

        def look() -> None:
            check()
            if watch:
                watch.tick()

        events = talk.finish(deadline_s=limit_s + ANSWER_S, check=look)
        if any(event.get("exit_code") != 0 for event in events):
            check()  # the death of what it talked to is the cause, not how it took it
        _refuse_stuck(parts, point, events, limit_s)
        ended_at, after = time.time(), cpu_load.sample(self._root_pids())
        outcome = point_record.Outcome(
            argv=talk.argvs[0],
            event=events[0],
            started_at=started_at,
            ended_at=ended_at,
            limit_s=limit_s,
            load=cpu_load.load_between(before, after),
            movement=watch.end() if watch else None,
        )
        if "parts" in point:
            outcome = summing.summed(self._directory, point, outcome, talk, events)
        return point_record.conclude(self._directory, point, outcome, self._host)

    def fail(self, point: Mapping[str, Any], cause: str) -> dict[str, Any]:
        """Write and return the record of a point that cannot be run."""
        point_record.forget(self._directory, point["id"])
        return point_record.failed(self._directory, point, cause)

    def _request(self, place: Place, point: Mapping[str, Any], target: Target) -> dict[str, Any]:
        request = {
            "id": point["id"],
            "argv": point_command.argv(point, target, place),
            "pci_address": target.sought_address,
            "node": target.node,
            "device_deadline_s": DEVICE_DEADLINE_S,
        }
        jobs = point_command.gated_jobs(point, target)
        if jobs:
            request["gate"] = jobs
        sought = [one for one in target.more if one.sought_address]
        more = [{"pci_address": one.sought_address, "node": one.node} for one in sought]
        return {**request, "more": more} if more else request


def _refuse_stuck(
    parts: Sequence[Part],
    point: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    limit_s: float,
) -> None:
    client = point.get("client", workload.FIO)
    for part, event in zip(parts, events):  # noqa: B905 (strict is Python 3.10's)
        if event.get("stuck"):
            pids = ", ".join(map(str, event["stuck"]))
            text = (
                f"{client} did not end within {limit_s:.0f} s and cannot be killed (pid {pids} "
                "there): the device does not answer"
            )
            raise SweepError(together.named(part.name, text))


def limit_for(point: Mapping[str, Any]) -> float:
    """Return after how many seconds fio counts as hung: as the plan says, if it does."""
    if point.get("limit_s"):
        return float(point["limit_s"])
    expected = float(point["expected_s"])
    return max(expected * LIMIT_FACTOR, expected + LIMIT_MARGIN_S)
