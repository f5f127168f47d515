# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detaches an executor from whoever starts it, and watches over it.

Two processes: the supervisor, in a session of its own, and the executor below it. The
supervisor sees the stop file, a stale lease and the executor's death; whichever comes, what
the run had started is stopped and its manifest is finished. If the supervisor is killed, the
kernel tells the executor. If both are, the next session on this host finds what they left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file, processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor, leftovers
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import (
    RunDirectory,
    try_lock,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_taking

if TYPE_CHECKING:
    from pathlib import Path

WATCH_S = 0.25
# A stopping executor shuts a guest down; after this it counts as hung.
STOP_DEADLINE_S = 45.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


class BusyHostError(NvmelabError):
    """Another run is being executed here: two would spoil each other's numbers."""


@dataclass(frozen=True)
class Launched:
    """A run that is under way."""

    pid: int  # the supervisor's
    is_new: bool


def launch(job: executor.Job, *, root: Path, lease_s: float) -> Launched:
    """Start an executor that outlives this process, or find the one that is there.

    Args:
        job: what to execute.
        root: of nvmelab on this host; one run at a time is executed below it.
        lease_s: the run ends early when the lease is older than this; 0 for never.

    Raises:
        BusyHostError: another run is live on this host.
    """
    directory = job.directory
    if directory.is_live():
        return Launched(_pid_of(directory), is_new=False)
    # The locks stay with the two children; they are let go when both have ended.
    with contextlib.ExitStack() as locks:
        # A short patience, for is_live() of somebody else holds them for a moment too.
        places = (root / "bench.lock", directory.path / "lock")
        held = [locks.enter_context(try_lock(place, patience_s=1.0)) for place in places]
        if None in held:
            raise BusyHostError(_busy_text(root, directory.run_id))
        leftovers.clean_all(root)
        if directory.manifest_path.exists():
            leftovers.clean(directory, leftovers.KILLED)
        directory.stop_path.unlink(missing_ok=True)
        directory.renew_lease()
        keep = {handle for handle in held if handle is not None}
        pid = _fork_detached(_Supervisor(job, lease_s).run, directory, keep)
    return Launched(pid, is_new=True)


def _busy_text(root: Path, asking: str) -> str:
    others = (one for one in RunDirectory.all(root) if one.run_id != asking)
    who = ", ".join(one.run_id for one in others if one.is_live()) or "another session"
    return f"{root}: {who} is being executed here; wait for its end, or stop it (state: stopped)"


def stop(directory: RunDirectory, *, deadline_s: float = 60.0) -> bool:
    """End a run, by asking first; whether there was anything to end.

    Raises:
        NvmelabError: something of it would not end, or a real device cannot be given back.
    """
    was_live = directory.is_live()
    if was_live:
        directory.stop_path.touch()
        if not _wait_until(lambda: not directory.is_live(), deadline_s):
            _kill(directory)
            _wait_until(lambda: not directory.is_live(), leftovers.KILL_DEADLINE_S)
    reason = "stopped on request" if was_live else leftovers.KILLED
    is_cleaned = leftovers.clean(directory, reason)
    nvme_taking.give_back(directory.path)  # says why, where that failed
    return is_cleaned or was_live


def _kill(directory: RunDirectory) -> None:
    found = directory.executor() or {}
    for name in ("pid", "executor_pid"):
        if found.get(name) and processes.start_ticks(found[name]) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[name], signal.SIGKILL)


def _wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _pid_of(directory: RunDirectory) -> int:
    _wait_until(lambda: directory.executor() is not None, 5.0)
    return int((directory.executor() or {"pid": 0})["pid"])


def _fork_detached(main: Callable[[], None], directory: RunDirectory, keep: set[int]) -> int:
    """Run ``main`` in a process without terminal, parent or our open files; its pid."""
    reader, writer = os.pipe()
    first = os.fork()
    if first == 0:
        os.setsid()
        second = os.fork()
        if second:
            os.write(writer, b"%d" % second)
            os._exit(0)
        _let_go_of_files(directory.logs / "executor.log", keep)
        _exit_after(main)
    os.waitpid(first, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        pid = int(pipe.read() or 0)
    _wait_until(lambda: directory.executor() is not None or not directory.is_live(), 5.0)
    return pid


def _let_go_of_files(log_path: Path, keep: set[int]) -> None:
    """Leave only the log and the locks open: Ansible waits until its pipes are closed."""
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if number > 2 and number not in keep:  # noqa: PLR2004  (0, 1, 2 are the standard ones)
            with contextlib.suppress(OSError):
                os.close(number)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = sys.stdout
    os.chdir("/")


def _exit_after(main: Callable[[], None]) -> NoReturn:
    """End this process after ``main`` without running what the forked-off program has at exit."""
    status = 1
    try:
        main()
        status = 0
    except BaseException:  # noqa: BLE001  (the log is the only place left to tell it)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


class _Supervisor:
    def __init__(self, job: executor.Job, lease_s: float) -> None:
        self._job = job
        self._directory = job.directory
        self._lease_s = lease_s
        self._asked: Optional[str] = None

    def run(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        supervisor = os.getpid()
        child = os.fork()
        if child == 0:
            _exit_after(lambda: _execute(self._job, supervisor))
        self._tell_who(child)
        try:
            status = self._watch(child)
            if status != 0:
                reason = self._asked or f"the executor {_ending(status)}"
                leftovers.clean(self._directory, reason)
        finally:
            self._directory.stop_path.unlink(missing_ok=True)
            self._directory.executor_path.unlink(missing_ok=True)

    def _tell_who(self, child: int) -> None:
        pid = os.getpid()
        content: dict[str, Any] = {"pid": pid, "start_ticks": processes.start_ticks(pid)}
        content.update(executor_pid=child, lease_s=self._lease_s)
        atomic_file.write_json(self._directory.executor_path, content)

    def _watch(self, child: int) -> int:
        """Return the wait status of the executor, after passing on every wish for its end."""
        deadline = None
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            self._asked = self._asked or self._wish()
            if self._asked and deadline is None:
                with contextlib.suppress(OSError):  # a full disk must not keep us from stopping
                    self._directory.stop_path.write_text(self._asked, "utf-8")
                os.kill(child, signal.SIGTERM)
                deadline = time.monotonic() + STOP_DEADLINE_S
            if deadline and time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(WATCH_S)

    def _wish(self) -> Optional[str]:
        with contextlib.suppress(FileNotFoundError):
            return self._directory.stop_path.read_text("utf-8").strip() or "stopped on request"
        age = self._directory.lease_age_s()
        if self._lease_s and age > self._lease_s:
            return f"nobody asked after the run for {age:.0f} s (lease_s is {self._lease_s:g})"
        return None

    def _on_signal(self, number: int, _frame: object) -> None:
        self._asked = self._asked or f"stopped by {signal.Signals(number).name}"


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}, see logs/executor.log"


def _execute(job: executor.Job, supervisor: int) -> None:
    """Execute in this process; a stop signal unwinds it once, what follows is not disturbed."""
    directory = job.directory

    def interrupt(number: int, _frame: object) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise executor.InterruptedRun(_why(directory, number, supervisor))

    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    # Without its supervisor nobody would see a stop request: the kernel makes one of its death.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != supervisor:
        os.kill(os.getpid(), signal.SIGTERM)
    executor.execute(job)
    if os.getppid() != supervisor:
        directory.executor_path.unlink(missing_ok=True)


def _why(directory: RunDirectory, number: int, supervisor: int) -> str:
    if os.getppid() != supervisor:
        return "the executor's supervisor was killed"
    with contextlib.suppress(OSError):
        return directory.stop_path.read_text("utf-8").strip() or "stopped on request"
    return f"stopped by {signal.Signals(number).name}"
