# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fio said of one point → files on disk and the point's record."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file, fio_output
from ansible_collections.nvmelab.bench.plugins.module_utils.run import directory as run_directory
from ansible_collections.nvmelab.bench.plugins.module_utils.run import verdict

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """One point after fio has ended, as the lab host saw it."""

    argv: Sequence[str]
    event: Mapping[str, Any]  # the agent's "finished"
    started_at: float
    ended_at: float
    limit_s: float
    load: Optional[Mapping[str, Any]] = None
    movement: Optional[Mapping[str, Any]] = None


def conclude(
    directory: RunDirectory, point: Mapping[str, Any], outcome: Outcome, host: verdict.HostFacts
) -> dict[str, Any]:
    """Write the point's files and return its record, written last.

    fio's output is on disk before anything reads it. Output that is no good result is kept
    under another name, with the cause in the record.

    Raises:
        FileWriteError: the disk is full; no record was written then.
    """
    point_id = point["id"]
    if outcome.event["stderr"]:
        atomic_file.write_text(
            directory.stderr_path(point_id), outcome.event["stderr"], durable=False
        )
    path = directory.fio_path(point_id)
    atomic_file.write_text(path, outcome.event["stdout"])
    kept_path = directory.bad_output_path(point_id)
    rows, cause = _read(outcome, str(kept_path))  # a message names the file that will be there
    if cause:
        path.replace(kept_path)
    record = {
        **_head(point),
        "state": "failed" if cause else "ok",
        "reason": cause,
        "argv": list(outcome.argv),
        "exit_code": outcome.event["exit_code"],
        "started_at": outcome.started_at,
        "ended_at": outcome.ended_at,
        "duration_s": outcome.event.get("duration_s"),
        "gap_s": outcome.event.get("gap_s"),
        "fio_file": None if cause else f"points/{path.name}",
        "fio_sha256": None if cause else run_directory.sha256(path),
        "load": outcome.load,
        "movement": outcome.movement,
        "verdict": _judge(point, outcome, rows, host, cause),
    }
    atomic_file.write_json(directory.record_path(point_id), record)
    return record


def failed(directory: RunDirectory, point: Mapping[str, Any], cause: str) -> dict[str, Any]:
    """Write and return the record of a point that could not be run at all."""
    record = {
        **_head(point),
        "state": "failed",
        "reason": cause,
        "argv": [],
        "exit_code": None,
        "started_at": None,
        "ended_at": None,
        "duration_s": None,
        "gap_s": None,
        "fio_file": None,
        "fio_sha256": None,
        "load": None,
        "movement": None,
        "verdict": verdict.verdict([verdict.reason("failed", cause)]),
    }
    atomic_file.write_json(directory.record_path(point["id"]), record)
    return record


def forget(directory: RunDirectory, point_id: str) -> None:
    """Remove what an earlier try of a point left."""
    for path in (
        directory.record_path(point_id),
        directory.fio_path(point_id),
        directory.bad_output_path(point_id),
        directory.stderr_path(point_id),
    ):
        path.unlink(missing_ok=True)


def _head(point: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "stack", "environment", "workload", "repetition", "runs_on")
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: point[name] for name in names},
        "fio_options": dict(point["fio"]),
    }


def _read(outcome: Outcome, file: str) -> tuple[list[dict[str, Any]], Optional[str]]:
    """Return the rows and, where they are no result, the cause."""
    cause = _ending(outcome)
    if cause:
        return [], cause
    try:
        output = fio_output.output_from_text(outcome.event["stdout"], file=file)
    except fio_output.FioOutputError as error:
        return [], str(error)
    codes = [*(job.error for job in output.failed_jobs), *(row.error for row in output.rows)]
    errors = sorted({code for code in codes if code})
    if errors:
        return [], "fio reports " + ", ".join(f"error {n} ({os.strerror(n)})" for n in errors)
    rows = [row.as_dict() for row in output.rows]
    return rows, None if rows else "fio ended well but did no I/O"


def _ending(outcome: Outcome) -> Optional[str]:
    """Return why the end of the process is no good end, or None."""
    event = outcome.event
    if event.get("timed_out"):
        return f"fio did not end within {outcome.limit_s:.0f} s and was stopped"
    code = event["exit_code"]
    if code == 0:
        return None
    said = telling_line(event["stderr"])
    if code is None:
        return said
    if code < 0:
        return f"fio was killed by {signal.Signals(-code).name}" + (f": {said}" if said else "")
    return f"fio ended with exit code {code}" + (f": {said}" if said else "")


def telling_line(stderr: str) -> str:
    """Return the line that names the cause: fio's first own, else the last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("fio:")]
    return (own or lines[-1:] or [""])[0][:300]


def _judge(
    point: Mapping[str, Any],
    outcome: Outcome,
    rows: Sequence[Mapping[str, Any]],
    host: verdict.HostFacts,
    cause: Optional[str],
) -> dict[str, Any]:
    if cause:
        return verdict.verdict([verdict.reason("failed", cause)])
    facts = verdict.PointFacts(
        point["runs_on"], point["fio"], rows, outcome.load, host, outcome.movement
    )
    return verdict.point_verdict(facts)
