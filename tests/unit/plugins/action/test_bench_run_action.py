# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's side of bench_run: looking on, telling, stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.nvmelab.bench.plugins.action import bench_run

PROGRESS = {
    "state": "running",
    "points_total": 36,
    "points_done": 10,
    "points_failed": 1,
    "repetitions": 2,
    "expected_end": 1100.0,
    "phase": "measuring",
    "current": {
        "stack": "virtio-blk",
        "workload": "randread-4k",
        "repetition": 2,
        "fio": {"rw": "randread", "bs": "4k", "iodepth": 16},
    },
}
STARTED = {"run_directory": "/var/lib/nvme lab/runs/r", "pid": 42, "changed": True}
RUN = {
    "state": "complete",
    "points_done": 36,
    "points_planned": 36,
    "durations_s": {"total": 80.4},
    "verdict": {"state": "tainted", "reasons": [{"code": "tcg", "text": "…"}]},
}


def looked(*, liveness: str = "alive", **progress: Any) -> dict[str, Any]:
    """What the look command gives."""
    text = json.dumps({**PROGRESS, **progress}, indent=1)
    return {"rc": 0, "stdout": f"{text}\n1000\n{liveness}\n"}


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's watch shows UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_line_of_a_point() -> None:
    """Which of how many, in fio's words, and the end by the reader's watch, not the host's."""
    line = bench_run.progress_line(PROGRESS, now=1000.0, here=3600.0)
    assert line == (
        "[12/36] virtio-blk randread bs=4k iodepth=16 rep 2/2 · 1 failed · ends about 01:01:40"
    )


@pytest.mark.usefixtures("utc")
def test_line_of_a_phase() -> None:
    """Between points the phase is told, with the points that are through."""
    progress = {**PROGRESS, "current": None, "phase": "booting guest-1", "points_failed": 0}
    line = bench_run.progress_line(progress, now=1000.0, here=0.0)
    assert line == "[10/36] booting guest-1 · ends about 00:01:40"


def test_line_of_the_end() -> None:
    """State, counts, time and why it is tainted."""
    assert bench_run.ending_line(RUN) == "complete: 36 of 36 points in 80 s · tainted: tcg"
    bare = {**RUN, "state": "failed", "verdict": None, "durations_s": None, "points_done": 0}
    assert bench_run.ending_line(bare) == "failed: 0 of 36 points · not judged"


@pytest.mark.parametrize("stdout", ["", "{}", '{"state": "running"\n1000\nalive', "a\nb\nc"])
def test_torn_look_is_no_look(stdout: str) -> None:
    """Half an answer says nothing, neither that the run goes on nor that it has ended."""
    assert bench_run.read_look(stdout) is None


def test_look_tells_end_and_orphan() -> None:
    """A dead supervisor counts only while the run has not said how it ended."""
    states = {
        ("running", "alive"): (False, False),
        ("running", "gone"): (False, True),
        ("complete", "gone"): (True, False),
    }
    for (state, liveness), expected in states.items():
        look = bench_run.read_look(looked(liveness=liveness, state=state)["stdout"])
        assert look is not None
        assert (look.has_ended, look.is_orphaned) == expected


def test_look_command_quotes_the_directory() -> None:
    """A root with a blank in it is one word for the shell."""
    command = bench_run.look_command(STARTED)
    assert command.startswith("touch '/var/lib/nvme lab/runs/r'/lease && cat ")


def test_a_supervisor_that_nobody_waits_for_is_gone(tmp_path: Path) -> None:
    """Alive, killed but not waited for, and waited for: the shell tells the first from the rest."""
    (tmp_path / "progress.json").write_text(json.dumps(PROGRESS) + "\n", encoding="utf-8")
    with subprocess.Popen(["sleep", "60"]) as process:
        started = {**STARTED, "run_directory": str(tmp_path), "pid": process.pid}

        def is_orphaned() -> bool:
            done = subprocess.run(
                ["/bin/sh", "-c", bench_run.look_command(started)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            look = bench_run.read_look(done.stdout)
            assert look is not None
            return look.is_orphaned

        assert not is_orphaned()
        process.kill()
        # A zombie from here to the end of the block.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_orphaned()
    assert is_orphaned()


class FakeAction(bench_run.ActionModule):
    """The action with a lab host that gives the answers of a list."""

    def __init__(self, looks: list[Any], **args: Any) -> None:
        self._task = SimpleNamespace(
            args={"plan": {"run_id": "r"}, "poll_s": 0, **args}, check_mode=False, async_val=0
        )
        self._looks = iter(looks)
        self.commands: list[str] = []
        self.states: list[str] = []
        self.said: list[str] = []
        self.answer: dict[str, Any] = {"run": RUN, "failure": None}

    def _low_level_execute_command(self, cmd: str, **_: Any) -> dict[str, Any]:
        self.commands.append(cmd)
        if cmd.startswith("echo"):
            return {"rc": 0, "stdout": ""}
        look = next(self._looks)
        if callable(look):
            look = look()
        if isinstance(look, Exception):
            raise look
        result: dict[str, Any] = look
        return result

    def _execute_module(self, *, module_args: dict[str, Any], **_: Any) -> dict[str, Any]:  # type: ignore[override]
        state = module_args.get("state", "started")
        self.states.append(state)
        return dict(STARTED) if state == "started" else dict(self.answer)

    def _say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeAction], dict[str, Any]]:
    """Run an action without Ansible around it."""
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})

    def run(action: FakeAction) -> dict[str, Any]:
        return action.run(task_vars={"inventory_hostname": "lab-1"})

    return run


def test_looks_until_the_end_and_tells_what_is_new(act: Callable[..., dict[str, Any]]) -> None:
    """Four looks, of which two show the same: two lines and the end; no module but two."""
    action = FakeAction([looked(), looked(), looked(points_done=11), looked(state="complete")])
    result = act(action)
    assert result["changed"]
    assert [line.split(" ")[0] for line in action.said] == ["[12/36]", "[13/36]", "complete:"]
    assert action.states == ["started", "result"]


def test_run_that_is_not_complete_fails_the_task(act: Callable[..., dict[str, Any]]) -> None:
    """The message is the module's, with the host's name before it."""
    action = FakeAction([looked(state="partial")])
    action.answer = {"run": RUN, "failure": "run r: partial: 0007 broke; logs: /x"}
    result = act(action)
    assert result["failed"]
    assert result["msg"] == "lab-1: run r: partial: 0007 broke; logs: /x"


def test_host_that_is_away_for_a_while_is_asked_again(act: Callable[..., dict[str, Any]]) -> None:
    """A broken connection is told once; the run goes on without us."""
    away = AnsibleConnectionFailure("no route to host")
    action = FakeAction([away, away, looked(state="complete")])
    assert not act(action).get("failed")
    assert sum("trying again" in line for line in action.said) == 1


def test_host_that_stays_away_is_unreachable(
    act: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the lease it is for Ansible to say so: the run has ended by then."""
    now = iter(range(0, 10**6, 50))
    monkeypatch.setattr(bench_run.time, "monotonic", lambda: float(next(now)))
    action = FakeAction([AnsibleConnectionFailure("no route")] * 100, lease_s=120)
    with pytest.raises(AnsibleConnectionFailure):
        act(action)


def test_dead_executor_is_cleaned_up_after(act: Callable[..., dict[str, Any]]) -> None:
    """The run says "running" but nobody executes it: it is stopped, then its result is read."""
    action = FakeAction([looked(liveness="gone")])
    act(action)
    assert action.states == ["started", "stopped", "result"]


def test_failed_start_is_handed_on(act: Callable[..., dict[str, Any]]) -> None:
    """No look at a run that was not started."""
    action = FakeAction([])
    action._execute_module = lambda **_: {"failed": True, "msg": "busy"}  # type: ignore[method-assign]
    assert act(action) == {"failed": True, "msg": "busy"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_run_before_the_worker_ends(
    act: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Ctrl-C reaches a worker as two signals: the run is told first, then the worker dies."""
    died: list[int] = []
    before = signal.signal(number, lambda received, _: died.append(received))

    def interrupt() -> dict[str, Any]:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        return looked()

    action = FakeAction([interrupt, looked(), looked(state="interrupted")])
    try:
        act(action)
    finally:
        signal.signal(number, before)
    assert any(command.endswith("/stop") for command in action.commands)
    assert died == [number]


def test_worker_without_a_parent_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed ansible-playbook leaves its workers behind, which would renew the lease for ever."""
    # A number that was not ours before: in a container our parent may be process 1 itself.
    monkeypatch.setattr(os, "getppid", lambda: 4711)
    wish = bench_run.Wish()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert wish.wait(60)
