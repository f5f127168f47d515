# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes are known by pid and start time, stopped whoever started them, and leave no record."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_affinity import AffinityError
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import Process, ProcessError


def _start(tmp_path: Path, *argv: str, name: str = "p", **options: object) -> Process:
    return processes.start(
        argv,
        name=name,
        log_path=tmp_path / "logs" / f"{name}.log",
        record_dir=tmp_path / "processes",
        **options,  # type: ignore[arg-type]
    )


def _wait_ended(process: Process) -> None:
    assert processes.wait(process, deadline_s=10)


def test_a_started_process_lives_with_a_record_and_a_stopped_one_with_neither(
    tmp_path: Path,
) -> None:
    """start() leaves a process in its own session and its record; stop() leaves none of both."""
    process = _start(tmp_path, "sleep", "60")
    record = tmp_path / "processes" / "p.json"
    assert processes.is_alive(process)
    assert processes.exit_reason(process) is None
    assert os.getsid(process.pid) == process.pid
    assert json.loads(record.read_text())["pid"] == process.pid
    processes.stop(process)
    assert not processes.is_alive(process)
    assert not record.exists()
    assert not Path(f"/proc/{process.pid}").exists()


def test_it_runs_the_very_arguments_with_nothing_to_read(tmp_path: Path) -> None:
    """Arguments arrive unchanged by the shell in between; stdin is empty; output is logged."""
    code = "import sys; print(sys.argv[1:], repr(sys.stdin.read()))"
    process = _start(tmp_path, sys.executable, "-c", code, "a b", "$HOME", "*", "'", "")
    _wait_ended(process)
    assert processes.log_tail(process.log) == "['a b', '$HOME', '*', \"'\", ''] ''"
    processes.stop(process)


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """Where the starter may dump core, what it starts does not, unless it wants to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        process = _start(tmp_path, "sh", "-c", "ulimit -S -c; ulimit -H -c")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    _wait_ended(process)
    said = processes.log_tail(process.log).split()
    assert said[0] == "0"
    assert said[1] == ("unlimited" if hard == resource.RLIM_INFINITY else str(hard // 512))
    processes.stop(process)


def test_environment_and_folder_are_added(tmp_path: Path) -> None:
    """`env` is added to ours, `cwd` is where it runs."""
    code = "import os; print(os.environ['NEW'], 'PATH' in os.environ, os.getcwd())"
    process = _start(tmp_path, sys.executable, "-c", code, env={"NEW": "1"}, cwd=tmp_path)
    _wait_ended(process)
    assert processes.log_tail(process.log) == f"1 True {tmp_path}"
    processes.stop(process)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "ended with exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    ],
)
def test_the_reason_of_an_end_can_be_asked_again_and_again(
    tmp_path: Path, code: str, reason: str
) -> None:
    """The exit status is looked at, not taken, though other children come and go meanwhile."""
    process = _start(tmp_path, sys.executable, "-c", code)
    _wait_ended(process)
    assert processes.exit_reason(process) == reason
    subprocess.run(["true"], check=True)
    assert processes.exit_reason(process) == reason
    processes.stop(process)


def test_the_next_user_of_a_pid_is_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living pid with another start time counts as dead, and is not killed."""
    monkeypatch.setattr(processes, "_STATUS_S", 0.1)
    other = _start(tmp_path, "sleep", "60")
    gone = Process("gone", other.pid, other.start_ticks - 1, ("x",), "log")
    assert not processes.is_alive(gone)
    processes.stop(gone)
    assert processes.is_alive(other)
    processes.stop(other)


def test_what_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    """stop() ends a whole session: the deaf leader and what it started."""
    code = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    process = _start(tmp_path, sys.executable, "-c", code)
    while not (said := processes.log_tail(process.log)):
        time.sleep(0.01)
    child = int(said)
    processes.stop(process, deadline_s=0.3)
    assert not processes.is_alive(process)
    for _ in range(500):
        if processes.start_ticks(child) is None:
            break
        time.sleep(0.01)
    assert processes.start_ticks(child) is None


def test_stopping_twice_is_no_error(tmp_path: Path) -> None:
    """A process that has been stopped can be stopped again."""
    process = _start(tmp_path, "sleep", "60")
    processes.stop(process)
    processes.stop(process)


def test_the_leftovers_of_a_killed_session_are_stopped_from_their_records(tmp_path: Path) -> None:
    """What a starter that was killed had started is found and stopped by another session."""
    code = (
        "import os, sys; from ansible_collections.nvmelab.bench.plugins.module_utils import "
        "processes\n"
        "for name in ('a', 'b'):\n"
        "    processes.start(['sleep', '60'], name=name, log_path=sys.argv[1] + '/log',"
        " record_dir=sys.argv[1])\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = processes.recorded(tmp_path)
    assert [processes.is_alive(process) for process in left] == [True, True]
    assert sorted(processes.stop_recorded(tmp_path)) == ["a", "b"]
    assert [processes.is_alive(process) for process in left] == [False, False]
    assert processes.stop_recorded(tmp_path) == []
    assert list(tmp_path.glob("*.json")) == []


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A torn record is an error with its path: something may run that we know nothing of."""
    (tmp_path / "x.json").write_text('{"pid": 1')
    with pytest.raises(ProcessError, match=r"x\.json: not the record"):
        processes.stop_recorded(tmp_path)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing program is found before anything starts."""
    with pytest.raises(ProcessError, match="/nonexistent/program is not an executable"):
        _start(tmp_path, "/nonexistent/program")
    assert not (tmp_path / "processes").exists()


def test_cpus_hold_for_the_process_and_not_for_its_starter(tmp_path: Path) -> None:
    """The process starts on the CPUs that were asked for; ours stay as they were."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    process = _start(tmp_path, "sleep", "60", cpus=[cpu])
    assert os.sched_getaffinity(process.pid) == {cpu}
    assert os.sched_getaffinity(0) == before
    processes.stop(process)


@pytest.mark.parametrize("extra", [[], [0]])
def test_cpus_that_are_not_there_are_refused(tmp_path: Path, extra: list[int]) -> None:
    """One absent CPU among present ones is an error too; the kernel would leave it out."""
    before = os.sched_getaffinity(0)
    with pytest.raises(AffinityError, match=r"cannot run on CPUs .*1023"):
        _start(tmp_path, "sleep", "60", cpus=[*extra, 1023])
    assert os.sched_getaffinity(0) == before


def test_the_end_of_a_log_has_no_blank_lines(tmp_path: Path) -> None:
    """log_tail gives the last lines that say something, and nothing for no file."""
    log = tmp_path / "log"
    log.write_bytes(b"1\n\n2\n\xff3\n\n")
    assert processes.log_tail(log, 2) == "2\n\N{REPLACEMENT CHARACTER}3"
    log.write_bytes(b"[\x1b[0;1;31mFAILED\x1b[0m] Failed\n\x1b[0m\n")
    assert processes.log_tail(log) == "[FAILED] Failed"
    assert processes.log_tail(tmp_path / "none") == ""
