# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Executes a plan on this lab host and leaves a complete run directory, however it ends."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file, processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    host_state,
    manifest,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    EnvironmentLostError,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environments import (
    Environments,
    environments,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.host_facts import host_facts
from ansible_collections.nvmelab.bench.plugins.module_utils.run.progress import Progress
from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Sweep

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

# A guest that died is started afresh once; one that dies again would cost a boot a stretch.
TRIES = 2
# Before the cause, for a point that was not even begun.
NOT_RUN = "not run: "

Point = Mapping[str, Any]


class InterruptedRun(BaseException):  # no error: somebody asked for it
    """Somebody wants the run to end now; no handler of errors may swallow it."""


@dataclass(frozen=True)
class Job:
    """What an executor needs to know."""

    directory: RunDirectory  # holds the plan
    capabilities: Mapping[str, Any]
    agent_source: str
    host_state: host_state.Request = field(default_factory=host_state.Request)


def execute(job: Job) -> str:
    """Run what is missing of the plan; the state in which the run ended.

    The manifest is written first and last; between, only point records and progress are.
    """
    directory = job.directory
    plan = directory.plan()
    executor = _Executor(job, plan)
    with job.host_state.held():
        return _executed(executor)


def _executed(executor: _Executor) -> str:
    interruption = fault = None
    try:
        executor.begin()
        executor.run()
    except InterruptedRun as asked:
        interruption = str(asked)
    except NvmelabError as error:
        fault = str(error)
    except Exception as error:  # noqa: BLE001  (a defect of ours must not cost the record)
        traceback.print_exc()
        fault = f"defect of nvmelab: {type(error).__name__}: {error}"
    return executor.end(interruption, fault)


class _Executor:
    def __init__(self, job: Job, plan: Mapping[str, Any]) -> None:
        self._job = job
        self._directory = job.directory
        self._plan = plan
        points: Sequence[Point] = plan["points"]
        self._todo = [p for p in points if not self._directory.is_finished(p["id"])]
        self._manifest = manifest.draft(plan, job.capabilities, self._directory.manifest())
        self._progress = Progress(self._directory, plan, self._todo)
        self._settings = Settings(
            directory=self._directory,
            capabilities=job.capabilities,
            accelerator=plan["accelerator"],
            agent_source=job.agent_source,
            say=self._progress.phase,
            remark=self._manifest["remarks"].append,
        )
        self._losses: dict[str, int] = collections.Counter()
        self._given_up: dict[str, str] = {}
        self._began = time.monotonic()
        self._boots_s: list[float] = []

    def begin(self) -> None:
        self._prove_before()
        atomic_file.write_json(self._directory.manifest_path, self._manifest)
        self._directory.hold_reserve()
        self._progress.phase("starting")

    def _prove_before(self) -> None:
        """Audit the host, so that every point is judged under what was in force."""
        request = self._job.host_state
        found = self._audited()
        section = host_state.begun(request, found, self._manifest["host_state"])
        self._manifest.update(tuning=request.tuning, host_state=section)
        facts = host_facts(
            self._plan,
            self._job.capabilities,
            self._manifest["conditions"]["before"],
            not_as_asked=host_state.point_reason(request, found),
        )
        self._sweep = Sweep(self._directory, facts, self._root_pids, request.sensors())

    def _audited(self) -> Optional[dict[str, Any]]:
        return self._job.host_state.audited(host_state.lab_directory_of(self._directory.path))

    def run(self) -> None:
        stretches = _stretches(self._todo)
        later = collections.Counter(stretch[0]["environment"] for stretch in stretches)
        with environments(self._plan["environments"], self._settings) as places:
            try:
                for number, stretch in enumerate(stretches):
                    name = stretch[0]["environment"]
                    self._run_stretch(places, name, stretches[number:])
                    later[name] -= 1
                    if not later[name]:
                        places.take_down(name)
            finally:
                self._boots_s = places.boot_s()
                self._manifest["commands"].update(places.commands)
            self._progress.phase("stopping everything")

    def end(self, interruption: Optional[str], fault: Optional[str]) -> str:
        """Write how it ended; with the reserve freed, so that a full disk cannot silence it."""
        self._directory.free_reserve()
        with contextlib.suppress(NvmelabError):
            processes.stop_recorded(self._directory.processes)
        records = manifest.records_of(self._directory)
        ended = manifest.conclude(
            self._manifest,
            records,
            interruption=interruption,
            fault=fault,
            audited=self._audited(),
        )
        ended["durations_s"] = self._with_totals(ended["durations_s"])
        atomic_file.write_json(self._directory.manifest_path, ended)
        self._progress.end(ended["state"], ended["reason"])
        return str(ended["state"])

    def _run_stretch(
        self, places: Environments, name: str, stretches: Sequence[Sequence[Point]]
    ) -> None:
        """Run the first of the stretches; when its place is lost, its remaining points failed."""
        points = stretches[0]
        if name in self._given_up:
            self._fail(points, f"{NOT_RUN}{self._given_up[name]}")
            return
        left = collections.deque(points)
        environment: Optional[Environment] = None
        try:
            self._progress.boots_left(self._boots(stretches, places))
            environment = places.bring_up(name)
            self._progress.boots_left(self._boots(stretches, places))
            while left:
                self._run_point(environment, left[0], is_first=len(left) == len(points))
                left.popleft()
        except atomic_file.FileWriteError:
            raise
        except NvmelabError as error:
            lost = self._cause(error, environment)
            self._lose(places, name, lost)
            self._fail(list(left)[:1], str(lost))
            self._fail(list(left)[1:], f"{NOT_RUN}{lost}")

    def _boots(self, stretches: Sequence[Sequence[Point]], places: Environments) -> int:
        """Return how often a guest must be started for these stretches."""
        up, count = places.guest_up(), 0
        for stretch in stretches:
            name = stretch[0]["environment"]
            if self._plan["environments"][name]["guest"] and name != up:
                up, count = name, count + 1
        return count

    def _run_point(self, environment: Environment, point: Point, *, is_first: bool) -> None:
        parts = environment.parts(point)
        self._progress.point(point)
        record = self._sweep.run(parts, point, is_first=is_first)
        self._progress.concluded(record)

    def _cause(self, error: NvmelabError, environment: Optional[Environment]) -> NvmelabError:
        """Return the death behind a lost connection, if there is one."""
        deadline = time.monotonic() + 2.0
        while environment and not isinstance(error, EnvironmentLostError):
            try:
                environment.check()
            except NvmelabError as deeper:
                return deeper
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return error

    def _lose(self, places: Environments, name: str, error: NvmelabError) -> None:
        places.take_down(name)
        self._losses[name] += 1
        is_final = isinstance(error, EnvironmentLostError) and error.is_final
        if is_final:
            self._given_up[name] = str(error)
        elif self._losses[name] >= TRIES:
            self._given_up[name] = f"{name} was given up after {TRIES} losses; the last: {error}"

    def _fail(self, points: Sequence[Point], cause: str) -> None:
        for point in points:
            self._progress.concluded(self._sweep.fail(point, cause))

    def _root_pids(self) -> Iterator[int]:
        """Return the processes whose CPU time is ours; the rest are their descendants."""
        yield os.getpid()
        yield os.getppid()
        with contextlib.suppress(NvmelabError):
            for process in processes.recorded(self._directory.processes):
                yield process.pid

    def _with_totals(self, durations: Mapping[str, Any]) -> dict[str, Any]:
        """Add this session's times to those of earlier ones of a resumed run."""
        earlier = self._manifest["durations_s"]
        return {
            **durations,
            "guest_boot": earlier.get("guest_boot", 0.0) + sum(self._boots_s),
            "guest_boot_count": earlier.get("guest_boot_count", 0) + len(self._boots_s),
            "total": earlier.get("total", 0.0) + time.monotonic() - self._began,
        }


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points cut where the place or the repetition changes.

    A loss costs the rest of a stretch: that shall not be every repetition.
    """
    grouped = itertools.groupby(points, key=lambda p: (p["environment"], p["repetition"]))
    return [list(group) for _, group in grouped]
