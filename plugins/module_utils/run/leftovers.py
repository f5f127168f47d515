# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed executor left on a lab host: found again, stopped, and the run's end written."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Union

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import running as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    guest_agent,
    manifest,
    progress,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import (
    RunDirectory,
    RunDirectoryError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    backends,
    nvme_taking,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
    RunningTarget,
    load_target,
)

KILL_DEADLINE_S = 5.0
KILLED = "the executor was killed; found later"


def clean(directory: RunDirectory, reason: str) -> bool:
    """Stop what a dead executor left and finish its manifest; whether anything was to be done.

    To be called for a run that is not live; it is left alone if it ended by itself. A real device
    that cannot be given back stays on record, for the next try.
    """
    if not directory.plan_path.exists():
        return False
    stopped = stop_processes(directory)
    has_devices = nvme_taking.is_on_record(directory.path)
    nvme_taking.give_back_or_say(directory.path)  # now that nobody has them any more
    found = directory.manifest()
    is_ended = found is not None and found["state"] in manifest.ENDED
    if is_ended and not directory.executor_path.exists() and not (stopped or has_devices):
        return False
    backends.remove_all(directory.path)
    directory.free_reserve()
    if not is_ended:
        ended = manifest.mark_interrupted(directory, reason)
        progress.correct(directory, ended["state"], ended["reason"])
    directory.executor_path.unlink(missing_ok=True)
    return True


def clean_all(root: Path, *, spare: str = "") -> list[str]:
    """Clean every run below a root whose executor is dead; the run_ids that needed it."""
    cleaned = []
    for directory in RunDirectory.all(root):
        if directory.run_id == spare or directory.is_live():
            continue
        with contextlib.suppress(RunDirectoryError):  # another run's broken file is its own matter
            if clean(directory, KILLED):
                cleaned.append(directory.run_id)
    return cleaned


def stop_processes(directory: RunDirectory) -> list[str]:
    """Stop recorded processes and marked ones of a run; their names.

    Raises:
        NvmelabError: one of them would not end.
    """
    names = []
    for process in processes.recorded(directory.processes):
        if processes.is_alive(process):
            names.append(process.name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)  # a paused one cannot end by itself
    for state in sorted((directory.path / "guests").glob("*.json")):
        _stop(guest.load_guest(directory.path, state.stem))
    for state in sorted((directory.path / "targets").glob("*.json")):
        _stop(load_target(directory.path, state.stem))
    processes.stop_recorded(directory.processes)
    pids = marked_pids(directory.run_id)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait_for_end(directory.run_id)
    return [*names, *(f"pid {pid}" for pid in pids)]


def _stop(found: Union[guest.RunningGuest, RunningTarget, None]) -> None:
    if found is not None:
        found.stop()  # also removes its sockets and files


def marked_pids(run_id: str) -> list[int]:
    """Return the processes that inherited a run's mark from its agent: fio and its jobs."""
    mark = f"{guest_agent.MARK}={run_id}".encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def _wait_for_end(run_id: str) -> None:
    deadline = time.monotonic() + KILL_DEADLINE_S
    while marked_pids(run_id):
        if time.monotonic() > deadline:
            left = ", ".join(map(str, marked_pids(run_id)))
            raise NvmelabError(f"processes of run {run_id} do not end after SIGKILL: pids {left}")
        time.sleep(0.02)
