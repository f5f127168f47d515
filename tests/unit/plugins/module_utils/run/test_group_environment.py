# SPDX-License-Identifier: GPL-3.0-or-later
"""A point in several guests: one start for all, one sum, and the name of the one that fails.

The guests are stand-ins with local agents; agents, fio's processes and files are real.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_fakes import FIXTURES, fake_fio, job, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import GuestError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    agent_connection,
    executor,
    group_environment,
    guest_environment,
    sweep,
)

NAMES = ("group_1", "group_2", "group_3")
RUN_ID = "20260101T000000Z-test-0001"


class FakeGuests:
    """Starts guests that are a local agent each, whose fio is told which guest it is in."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cpus = 8
        self.deadlines_s: list[float] = []
        self.dead: set[str] = set()
        self.dead_while_booting: set[str] = set()

    def launch(self, spec: dict[str, Any], *, deadline_s: float, **_: Any) -> Any:
        """Stand in for launch_guest."""
        name = spec["name"]
        self.calls.append(f"launch {name}")
        self.deadlines_s.append(deadline_s)
        return SimpleNamespace(
            wait=lambda: self._wait(spec),
            check=lambda: self._check_boot(name),
            stop=lambda: self.calls.append(f"stop {name}"),
        )

    def _check_boot(self, name: str) -> None:
        if name in self.dead_while_booting:
            raise GuestError(f"{name}: the guest's kernel panicked")

    def _wait(self, spec: dict[str, Any]) -> Any:
        name = spec["name"]
        self.calls.append(f"wait {name}")
        try:
            self._check_boot(name)
        except GuestError:
            self.calls.append(f"stop {name}")  # as the real one does
            raise
        argv = ["env", f"GUEST={name}", *agent_connection.local_argv("fio", "test")]
        return SimpleNamespace(
            name=name,
            spec=spec,
            boot_s=1.5,
            argv=["qemu", name],
            ssh=SimpleNamespace(argv=lambda _: argv),
            pause=lambda: self.calls.append(f"pause {name}"),
            resume=lambda: self.calls.append(f"resume {name}"),
            stop=lambda: self.calls.append(f"stop {name}"),
            check=lambda: self._check(name),
            device_address=lambda device: f"no-such-{device}",
        )

    def _check(self, name: str) -> None:
        if name in self.dead:
            raise GuestError(f"{name}: QEMU was killed by SIGKILL")


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGuests:
    """Guests without QEMU."""
    fakes = FakeGuests()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(guest_environment, "launch_guest", fakes.launch)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(fakes.cpus)))
    return fakes


def group_point(number: int, **more: Any) -> dict[str, Any]:
    """A point of three guests without devices."""
    parts = [{"guest": name, "devices": []} for name in NAMES]
    return point(number, "group", parts=parts, **more)


# Real output of fio 3.42: two jobs, 1004 ms, and when they began.
LATE_OUTPUT = FIXTURES / "gen-v3.42-randrw-2jobs.json"

Run = Callable[..., tuple[dict[str, Any], Any]]


@pytest.fixture
def run(tmp_path: Path, guests: FakeGuests) -> Run:
    """Execute a plan of points in three guests, with a fio that does ``then``; the manifest."""

    def execute(*points: dict[str, Any], then: str = "") -> tuple[dict[str, Any], Any]:
        whole = plan(*points, run_id=RUN_ID)
        if "group" in whole["environments"]:
            first, *peers = ({"name": name, "devices": []} for name in NAMES)
            whole["environments"]["group"].update(guest=first, peers=peers)
        made = job(tmp_path / "root", whole, fio=fake_fio(tmp_path, then))
        executor.execute(made)
        manifest = made.directory.manifest()
        assert manifest is not None
        return manifest, made.directory

    return execute


def test_guests_that_began_apart_taint_the_sum(run: Run) -> None:
    """Each job counts from when its guest's agent let it go; two begin five seconds after one."""
    began = "$(( $(date +%s%3N) + ${GUEST##*_} / 2 * 5000 ))"
    then = f'sed "s/\\"job_start\\" : [0-9]*/\\"job_start\\" : {began}/" {LATE_OUTPUT}; exit 0'
    _, directory = run(group_point(1), then=then)
    record = directory.record("0001")
    assert record["state"] == "ok", record["reason"]
    assert record["shared_ratio"] == 0.0
    assert "jobs-apart" in [one["code"] for one in record["verdict"]["reasons"]]


def test_all_guests_drive_a_point_and_the_row_is_their_sum(run: Run, guests: FakeGuests) -> None:
    """Three times the output of one fio: IOPS and I/Os add up, each guest's own is kept."""
    manifest, directory = run(group_point(1))
    assert manifest["state"] == "complete", manifest["reason"]
    one = json.loads(directory.raw_path("0001", "group_2").read_text())["jobs"][0]["read"]
    document = json.loads(directory.fio_path("0001").read_text())
    (summed,) = document["jobs"]
    assert summed["read"]["total_ios"] == 3 * one["total_ios"]
    assert summed["read"]["iops"] == pytest.approx(3 * one["iops"])
    assert document["nvmelab"]["guests"] == list(NAMES)
    record = directory.record("0001")
    assert [part["guest"] for part in record["parts"]] == list(NAMES)
    assert record["start_s"] >= 0
    assert guests.calls == [
        *(f"launch {name}" for name in NAMES),
        *(f"wait {name}" for name in NAMES),
        *(f"stop {name}" for name in reversed(NAMES)),
    ]


def test_guests_boot_at_once_as_far_as_there_are_cpus(run: Run, guests: FakeGuests) -> None:
    """Three guests of one vCPU on two CPUs: two are waited for together, the third comes after."""
    guests.cpus = 2
    manifest, _ = run(group_point(1))
    assert manifest["state"] == "complete", manifest["reason"]
    assert guests.calls[:6] == [
        *("launch group_1", "launch group_2", "wait group_1", "wait group_2"),
        *("launch group_3", "wait group_3"),
    ]
    # As long as those that boot at once would have had in turn.
    assert guests.deadlines_s == [240.0, 240.0, 120.0]
    assert manifest["durations_s"]["guest_boot_count"] == 3


def test_of_guests_that_fail_at_once_each_is_named(run: Run, guests: FakeGuests) -> None:
    """The second is waited for, the third is only asked; both are named, and all are stopped."""
    guests.dead_while_booting = {"group_2", "group_3"}
    manifest, _ = run(group_point(1))
    (failed,) = manifest["points_failed"]
    assert failed["reason"] == (
        "group_2: the guest's kernel panicked; group_3: the guest's kernel panicked"
    )
    assert sorted(call for call in guests.calls if call.startswith("stop")) == [
        f"stop {name}" for name in NAMES
    ]


def test_the_first_guest_that_fails_is_the_only_cause(run: Run, guests: FakeGuests) -> None:
    """The others are well: they are stopped, not waited for, and not named."""
    guests.dead_while_booting = {"group_1"}
    manifest, _ = run(group_point(1))
    (failed,) = manifest["points_failed"]
    assert failed["reason"] == "group_1: the guest's kernel panicked"
    assert "wait group_2" not in guests.calls
    assert {"stop group_2", "stop group_3"} <= set(guests.calls)


def test_a_guest_with_more_vcpus_than_the_host_boots_alone() -> None:
    """Sums never pass the CPUs, except where one guest alone does."""

    def member(vcpus: int) -> Any:
        return SimpleNamespace(spec={"guest": {"vcpus": vcpus}})

    groups = group_environment.shifts([member(n) for n in (1, 2, 1, 6, 2, 2)], 4)
    assert [[m.spec["guest"]["vcpus"] for m in group] for group in groups] == [
        *([1, 2, 1], [6], [2, 2]),
    ]


def test_nobody_starts_before_all_are_ready(run: Run, tmp_path: Path) -> None:
    """Each fio waits until the others have started too: without a common start none would end."""
    meet = (
        f"touch {tmp_path}/here-$GUEST; n=0; "
        f"while [ $(ls {tmp_path} | grep -c here-) -lt 3 ] && [ $n -lt 200 ]; "
        "do sleep 0.05; n=$((n+1)); done; [ $n -lt 200 ] || exit 3"
    )
    manifest, _ = run(group_point(1), then=meet)
    assert manifest["state"] == "complete", manifest["reason"]


def test_jobs_of_several_devices_are_held_and_have_the_time_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job each device and guest; all devices open before the guests say that they are ready."""
    asked: list[tuple[list[dict[str, Any]], float]] = []

    def begin(_: Any, requests: list[dict[str, Any]], *, deadline_s: float, **_more: Any) -> str:
        asked.append((requests, deadline_s))
        return "heard enough"

    one, two = (sweep.Target(f"0000:00:1{n}.0", node="address") for n in (0, 1))
    both = replace(one, names=("one", "two"), more=(two,))
    monkeypatch.setattr(sweep.together.Talk, "begin", begin)
    monkeypatch.setattr(guest_environment.GuestEnvironment, "target", lambda *_: both)
    run(group_point(1))
    ((requests, deadline_s),) = asked
    assert [request["gate"] for request in requests] == [2, 2, 2]
    usual_s = sweep.DEVICE_DEADLINE_S + sweep.ANSWER_S
    assert deadline_s == usual_s + requests[0]["limit_s"]


def test_a_guest_without_its_device_keeps_the_others_from_starting(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point names guest and device; no fio ran anywhere, and the next point is measured."""
    monkeypatch.setattr(sweep, "DEVICE_DEADLINE_S", 0.1)
    take = guest_environment.GuestEnvironment.target

    def lacks(self: Any, one: dict[str, Any]) -> sweep.Target:
        if self.name == "group_2" and one["id"] == "0001":
            return sweep.Target(pci_address="0000:00:1e.0")
        return take(self, one)

    monkeypatch.setattr(guest_environment.GuestEnvironment, "target", lacks)
    manifest, _ = run(group_point(1), group_point(2), then=f"echo $GUEST >> {tmp_path}/ran")
    (failed,) = manifest["points_failed"]
    assert failed["id"] == "0001"
    assert failed["reason"].startswith("group_2: no PCI device 0000:00:1e.0")
    assert sorted((tmp_path / "ran").read_text().split()) == sorted(NAMES)


def test_one_guest_that_fails_fails_the_point_by_its_name(run: Run) -> None:
    """The others' output is kept; the guests live on for the next point."""
    fails = "case $GUEST$* in group_3*stack-1*) echo 'fio: broke' >&2; exit 1;; esac"
    manifest, directory = run(group_point(1), group_point(2), then=fails)
    cause = "group_3: fio ended with exit code 1: fio: broke"
    assert manifest["points_failed"] == [{"id": "0001", "reason": cause}]
    assert directory.raw_path("0001", "group_1").exists()
    assert not directory.fio_path("0001").exists()
    codes = [part["exit_code"] for part in directory.record("0001")["parts"]]
    assert codes == [0, 0, 1]


def test_one_guest_that_hangs_ends_at_the_deadline(run: Run) -> None:
    """Its fio is ended after the point's limit; the point says in which guest it hung."""
    hangs = "case $GUEST$* in group_2*stack-1*) exec sleep 60;; esac"
    manifest, _ = run(group_point(1, limit_s=1.0), group_point(2), then=hangs)
    cause = "group_2: fio did not end within 1 s and was stopped"
    assert manifest["points_failed"] == [{"id": "0001", "reason": cause}]


def test_a_guest_that_says_nothing_is_named(
    run: Run, guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that never answers costs all guests, as they go up and down together."""
    monkeypatch.setattr(sweep, "ANSWER_S", 0.5)
    monkeypatch.setattr(agent_connection, "CLOSE_S", 0.3)
    mute = "case $GUEST in group_2) kill -STOP $PPID; sleep 1;; esac"
    manifest, _ = run(group_point(1, limit_s=1.0), then=mute)
    (failed,) = manifest["points_failed"]
    assert failed["reason"].startswith("group_2: no word from the agent for")
    assert guests.calls[6:] == [f"stop {name}" for name in reversed(NAMES)]


def test_the_death_of_one_guest_is_the_points_cause(
    run: Run, guests: FakeGuests, tmp_path: Path
) -> None:
    """Told by its name while the others still run; all are ended."""
    fio = tmp_path / "marker"
    guests.dead.add("group_3")
    manifest, _ = run(group_point(1), then=f"touch {fio}; exec sleep 60")
    assert manifest["points_failed"] == [
        {"id": "0001", "reason": "group_3: QEMU was killed by SIGKILL"}
    ]
    assert len([call for call in guests.calls if call.startswith("stop")]) == 3


def test_guests_are_paused_together_while_the_host_measures(run: Run, guests: FakeGuests) -> None:
    """The last guest first, and taken up in the order of their start."""
    manifest, _ = run(group_point(1), point(2), group_point(3))
    assert manifest["state"] == "complete"
    between = [call for call in guests.calls if call.startswith(("pause", "resume"))]
    assert between == [
        *(f"pause {name}" for name in reversed(NAMES)),
        *(f"resume {name}" for name in NAMES),
    ]
    assert manifest["durations_s"]["guest_boot_count"] == 3


def test_a_resumed_run_measures_only_what_is_missing(run: Run, tmp_path: Path) -> None:
    """The good point is left alone with its raw output, the failed one is done by all guests."""
    seen = tmp_path / "seen"
    fails = "case $GUEST$* in group_1*stack-2*) exit 1;; esac"
    manifest, directory = run(group_point(1), group_point(2), then=fails)
    assert manifest["points_done"] == 1
    before = directory.raw_path("0001", "group_1").stat().st_mtime_ns
    manifest, directory = run(group_point(1), group_point(2), then=f"echo $GUEST >> {seen}")
    assert (manifest["state"], len(manifest["resumed_at"])) == ("complete", 1)
    assert sorted(seen.read_text().split()) == sorted(NAMES)
    assert directory.raw_path("0001", "group_1").stat().st_mtime_ns == before


def test_a_plan_whose_parts_are_not_its_guests_is_refused(run: Run) -> None:
    """It says what it found and what there is, and tries no second time."""
    other = point(1, "group", parts=[{"guest": "group_1", "devices": []}])
    manifest, _ = run(group_point(2), other)
    (failed,) = manifest["points_failed"]
    assert "is for the guests group_1; the environment 'group' has group_1, gr" in failed["reason"]
