# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived processes that are found again and stopped, also by somebody else's child.

A process is named by its pid *and* its start time, for pids are used again. Its record is a
file, so that a later session can stop what a killed one left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils import systemd_scope
from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_affinity import affinity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AnyPath = Union[str, "os.PathLike[str]"]

# The program starts only after its record is on disk: the shell waits for a byte, and ends by
# itself when the starter died before it could write either. A crash leaves no core: of SPDK it
# would be as large as its memory, in whatever folder the starter was in.
_GATE = 'ulimit -S -c 0; read -r go && exec "$@" </dev/null'
_POLL_S = 0.01
_STATUS_S = 3.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ProcessError(NvmelabError):
    """A process could not be started, or would not end."""


@dataclass(frozen=True)
class Process:
    """One started process; ``start_ticks`` is field 22 of ``/proc/PID/stat``."""

    name: str
    pid: int
    start_ticks: int
    argv: tuple[str, ...]
    log: str
    record: Optional[str] = None  # the file that remembers it; not part of that file

    def to_dict(self) -> dict[str, Any]:
        """Return what the record file holds."""
        fields = asdict(self)
        del fields["record"]
        return {**fields, "argv": list(self.argv)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], *, record: Optional[str] = None) -> Process:
        """Return the process of a record file's content."""
        return cls(
            name=str(fields["name"]),
            pid=int(fields["pid"]),
            start_ticks=int(fields["start_ticks"]),
            argv=tuple(fields["argv"]),
            log=str(fields["log"]),
            record=record,
        )


def start(
    argv: Sequence[str],
    *,
    name: str,
    log_path: AnyPath,
    record_dir: AnyPath,
    cpus: Optional[Sequence[int]] = None,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[AnyPath] = None,
    unit: Optional[str] = None,
) -> Process:
    """Return the running process of ``argv``, in a session of its own.

    Its stdin is ``/dev/null``; stdout and stderr go to ``log_path``, which is emptied first.
    ``cpus`` are set before the program starts, so its threads inherit them. ``env`` is added to
    the starter's environment. ``unit`` makes it a scope of systemd's of that name. The record is
    ``record_dir/NAME.json``.

    Raises:
        ProcessError: the program is not there, or a log or record cannot be written.
        AffinityError: one of the CPUs cannot be used.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise ProcessError(f"{name}: {argv[0]} is not an executable file nor found on PATH")
    record = Path(record_dir) / f"{name}.json"
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        Path(log_path).parent.mkdir(parents=True, exist_ok=True)
        whole = [program, *argv[1:]]
        return _start_gated(whole, name, Path(log_path), record, cpus, env, cwd, unit)
    except OSError as error:
        raise ProcessError(f"{name}: cannot be started: {error}") from error


def _start_gated(
    argv: Sequence[str],
    name: str,
    log_path: Path,
    record: Path,
    cpus: Optional[Sequence[int]],
    env: Optional[Mapping[str, str]],
    cwd: Optional[AnyPath],
    unit: Optional[str],
) -> Process:
    before = systemd_scope.starter(unit) if unit else []
    with log_path.open("wb") as log, affinity(cpus, name):
        child = subprocess.Popen(
            ["/bin/sh", "-c", _GATE, name, *before, *argv],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    # From here the child is known by its identity alone. A Popen that thinks it is still running
    # would reap it behind our back, and its exit status would be lost.
    child.returncode = 0
    gate = child.stdin
    assert gate is not None  # noqa: S101 it was asked for as a pipe
    with gate:
        ticks = start_ticks(child.pid)
        if ticks is None:
            raise ProcessError(f"{name}: /bin/sh ended at once", log=str(log_path))
        process = Process(name, child.pid, ticks, tuple(argv), str(log_path), str(record))
        write_json(record, process.to_dict(), durable=False)
        with contextlib.suppress(BrokenPipeError):
            gate.write(b"go\n")
            gate.flush()
    return process


def _stat(pid: int) -> Optional[list[str]]:
    """Return the fields of /proc/PID/stat from the third on, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in brackets and may itself hold blanks and brackets.
    return text.rpartition(")")[2].split()


def start_ticks(pid: int) -> Optional[int]:
    """Return when a pid started, in clock ticks since boot; None when there is no such pid."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def is_alive(process: Process) -> bool:
    """Return whether this very process runs; a zombie, or the pid's next user, does not count."""
    fields = _stat(process.pid)
    return bool(
        fields and int(fields[19]) == process.start_ticks and fields[0] not in {"Z", "X", "x"}
    )


def is_stopped(process: Process) -> bool:
    """Return whether this very process is held by a signal such as SIGSTOP, until SIGCONT."""
    fields = _stat(process.pid)
    return bool(fields and int(fields[19]) == process.start_ticks and fields[0] == "T")


def exit_reason(process: Process) -> Optional[str]:
    """Return how a process ended, e.g. ``was killed by SIGKILL``; None while it runs.

    May be asked again and again: the status is looked at, not taken.
    """
    if is_alive(process):
        return None
    status = _exit_status(process.pid)
    if status is None:
        return "has ended (its exit status went to the session that had started it)"
    if status.si_code == os.CLD_EXITED:
        return f"ended with exit status {status.si_status}"
    return f"was killed by {signal.Signals(status.si_status).name}"


def _exit_status(pid: int) -> Optional[os.waitid_result]:
    """Return how a child of ours ended, leaving it to be asked again; None for other processes.

    The first thread of a process may be a zombie before the others have ended and the status is
    there: that is waited for.
    """
    end = time.monotonic() + _STATUS_S
    while time.monotonic() < end:
        try:
            status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if status is not None:
            return status
        time.sleep(_POLL_S)
    return None


def wait(process: Process, *, deadline_s: float) -> bool:
    """Return whether the process has ended within the deadline."""
    end = time.monotonic() + deadline_s
    while is_alive(process):
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_S)
    return True


def stop(process: Process, *, deadline_s: float = 5) -> Optional[str]:
    """End a process and what it started in its session: SIGTERM, then SIGKILL; drop its record.

    Returns how it ended, as :func:`exit_reason` does.

    Raises:
        ProcessError: it still runs ``deadline_s`` after SIGKILL (stuck in the kernel).
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_alive(process):
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        wait(process, deadline_s=deadline_s)
    if is_alive(process):
        raise ProcessError(
            f"{process.name}: pid {process.pid} did not end {deadline_s:g} s after SIGKILL; "
            f"see /proc/{process.pid}/stack",
            log=process.log,
        )
    reason = exit_reason(process)
    _reap(process)
    if process.record:
        Path(process.record).unlink(missing_ok=True)
    return reason


def _reap(process: Process) -> None:
    """Take the exit status, after killing what else is left in the session.

    Only a zombie of ours may be used for that: it holds its pid, so the group is the right one.
    """
    if start_ticks(process.pid) != process.start_ticks:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, 0)


def recorded(record_dir: AnyPath) -> list[Process]:
    """Return the processes that have a record in a directory, sorted by name.

    A file that is not a record is reported, not skipped: something may still be running.

    Raises:
        ProcessError: a record cannot be read.
    """
    found = []
    for path in sorted(Path(record_dir).glob("*.json")):
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            found.append(Process.from_dict(fields, record=str(path)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProcessError(f"{path}: not the record of a process ({error})") from error
    return found


def stop_recorded(record_dir: AnyPath, *, deadline_s: float = 5) -> list[str]:
    """Stop all recorded processes, last started first; return the names of those that ran."""
    left = sorted(recorded(record_dir), key=lambda p: p.start_ticks, reverse=True)
    running = [process.name for process in left if is_alive(process)]
    for process in left:
        stop(process, deadline_s=deadline_s)
    return running


def log_tail(path: AnyPath, lines: int = 15) -> str:
    """Return the last lines of a log that are not blank, without colours; empty when there is none.

    A guest's console has colours.
    """
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 400 * lines))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    kept = [line.rstrip() for line in _COLOURS.sub("", text).splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


def log_end(path: AnyPath, lines: int) -> str:
    """Return the end of a log in one line, as an error text wants it; empty when there is none."""
    return log_tail(path, lines).replace("\n", " | ")
