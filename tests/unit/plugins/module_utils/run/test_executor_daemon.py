# SPDX-License-Identifier: GPL-3.0-or-later
"""Executors that live on their own: real processes, killed in every way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_fakes import fake_fio, job, plan, point, wait_until

from ansible_collections.nvmelab.bench.plugins.module_utils.run import daemon as executor_daemon
from ansible_collections.nvmelab.bench.plugins.module_utils.run import leftovers
from ansible_collections.nvmelab.bench.plugins.module_utils.run.daemon import BusyHostError
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

Launch = Callable[..., RunDirectory]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Launch a run of three points; stopped in the end."""
    launched: list[RunDirectory] = []

    def start(then: str = "", *, lease_s: float = 0, run_id: str = "run-1") -> RunDirectory:
        points = (point(1), point(2), point(3))
        made = job(tmp_path, plan(*points, run_id=run_id), fio=fake_fio(tmp_path, then))
        launched.append(made.directory)
        found = executor_daemon.launch(made, root=tmp_path, lease_s=lease_s)
        assert found.pid > 0
        return made.directory

    yield start
    for one in launched:
        executor_daemon.stop(one)


# The first point ends at once, the second one does not.
HANGS = "case $* in *stack-2*) exec sleep 60;; esac"


def manifest(directory: RunDirectory) -> dict[str, Any]:
    """The manifest, which must be there."""
    found = directory.manifest()
    assert found is not None
    return found


def in_second_point(directory: RunDirectory) -> bool:
    """Whether fio runs in the second point."""
    return bool(leftovers.marked_pids(directory.run_id)) and bool(directory.record("0001"))


def assert_nothing_is_left(directory: RunDirectory) -> None:
    """No process, no lock, no state of a living run."""
    assert leftovers.marked_pids(directory.run_id) == []
    assert not directory.is_live()
    for path in (directory.executor_path, directory.reserve_path, directory.stop_path):
        assert not path.exists()


def test_run_ends_by_itself(launch: Launch) -> None:
    """The starter need not stay: the run is complete, and progress says so, too."""
    directory = launch()
    wait_until(lambda: not directory.is_live())
    assert manifest(directory)["state"] == "complete"
    assert json.loads(directory.progress_path.read_text())["state"] == "complete"
    assert_nothing_is_left(directory)


def test_daemon_has_nothing_of_its_starter(launch: Launch) -> None:
    """Own session, and only null, the log, the locks and its own pipes open: Ansible can go."""
    directory = launch(HANGS)
    wait_until(lambda: in_second_point(directory))
    found = directory.executor() or {}
    assert os.getsid(found["pid"]) not in (os.getsid(0), 0)
    folder = Path(f"/proc/{found['pid']}/fd")
    targets = {str(path.readlink()) for path in folder.iterdir()}
    log = str(directory.logs / "executor.log")
    locks = {str(directory.path / "lock"), str(directory.path.parents[1] / "bench.lock")}
    assert targets == {"/dev/null", log, *locks}


def test_starting_twice_finds_the_run_that_is_there(launch: Launch) -> None:
    """A lost answer is asked for again: the same supervisor, no second one."""
    directory = launch(HANGS)
    first = (directory.executor() or {})["pid"]
    assert (launch(HANGS).executor() or {})["pid"] == first


def test_second_run_on_a_host_is_refused(launch: Launch) -> None:
    """Two at once would spoil each other's numbers; the message names the one that is there."""
    launch(HANGS)
    with pytest.raises(BusyHostError, match="run-1 is being executed here"):
        launch(HANGS, run_id="run-2")


def test_stop_keeps_what_was_measured(launch: Launch) -> None:
    """Stopped in the second point: the first is kept, fio is gone, the manifest says why."""
    directory = launch(HANGS)
    wait_until(lambda: in_second_point(directory))
    assert executor_daemon.stop(directory)
    ended = manifest(directory)
    assert (ended["state"], ended["points_done"]) == ("interrupted", 1)
    assert ended["reason"] == "stopped on request"
    assert_nothing_is_left(directory)
    assert executor_daemon.stop(directory) is False


@pytest.mark.parametrize(
    ("victims", "number", "reason"),
    [
        (["pid"], signal.SIGTERM, "stopped by SIGTERM"),
        (["executor_pid"], signal.SIGKILL, "the executor was killed by SIGKILL"),
        (["pid"], signal.SIGKILL, "the executor's supervisor was killed"),
    ],
)
def test_whoever_is_killed_the_other_cleans_up(
    launch: Launch, victims: list[str], number: signal.Signals, reason: str
) -> None:
    """One of the two survives, stops fio and writes the end."""
    directory = launch(HANGS)
    wait_until(lambda: in_second_point(directory))
    for victim in victims:
        os.kill((directory.executor() or {})[victim], number)
    wait_until(lambda: not directory.is_live())
    ended = manifest(directory)
    assert (ended["state"], ended["reason"]) == ("interrupted", reason)
    assert ended["points_done"] == 1
    assert_nothing_is_left(directory)


def kill_both(directory: RunDirectory) -> None:
    """Kill supervisor and executor without a chance for either."""
    wait_until(lambda: in_second_point(directory))
    found = directory.executor() or {}
    os.kill(found["pid"], signal.SIGSTOP)
    os.kill(found["executor_pid"], signal.SIGKILL)
    os.kill(found["pid"], signal.SIGKILL)
    wait_until(lambda: not directory.is_live())


def test_next_session_cleans_up_after_both(launch: Launch) -> None:
    """A later start of another run finds the dead one, stops what it left, writes its end."""
    directory = launch(HANGS)
    kill_both(directory)
    assert manifest(directory)["state"] == "running"
    other = launch(run_id="run-2")
    assert manifest(directory)["state"] == "interrupted"
    assert_nothing_is_left(directory)
    wait_until(lambda: not other.is_live())


def test_a_killed_run_was_not_stopped_on_request(launch: Launch) -> None:
    """A control node that finds its run dead has it cleaned up; the manifest says what happened."""
    directory = launch(HANGS)
    kill_both(directory)
    assert executor_daemon.stop(directory)
    ended = manifest(directory)
    assert (ended["state"], ended["reason"]) == ("interrupted", leftovers.KILLED)
    assert_nothing_is_left(directory)


def test_killed_run_is_continued(launch: Launch) -> None:
    """Started again, the point that was measured stays as it is, the others are run."""
    directory = launch(HANGS)
    kill_both(directory)
    before = directory.record_path("0001").stat().st_mtime_ns
    launch()
    wait_until(lambda: not directory.is_live())
    assert manifest(directory)["state"] == "complete"
    assert directory.record_path("0001").stat().st_mtime_ns == before


def test_run_that_nobody_asks_after_ends(launch: Launch) -> None:
    """With the lease past its time the run is interrupted, and the manifest says why."""
    directory = launch(HANGS, lease_s=1)
    wait_until(lambda: not directory.is_live())
    ended = manifest(directory)
    assert ended["state"] == "interrupted"
    assert "nobody asked after the run" in ended["reason"]
    assert_nothing_is_left(directory)


def test_reason_of_a_stop_file_is_recorded(launch: Launch) -> None:
    """Who stops a run by a file can say who he is."""
    directory = launch(HANGS)
    wait_until(lambda: in_second_point(directory))
    directory.stop_path.write_text("stopped from the control node\n")
    wait_until(lambda: not directory.is_live())
    assert manifest(directory)["reason"] == "stopped from the control node"
