# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fio, or another client, said of one point → files on disk and the point's record."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file, fio_output
from ansible_collections.nvmelab.bench.plugins.module_utils.client import output as client_output
from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import xnvme_errors
from ansible_collections.nvmelab.bench.plugins.module_utils.run import directory as run_directory
from ansible_collections.nvmelab.bench.plugins.module_utils.run import verdict

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

SCHEMA_VERSION = 1
_ILLEGAL = "it was built for another CPU than runs it here; build it for this one"
# What SPDK's programs say last, whatever went wrong.
_FAREWELLS = ("spdk_app_stop'd on non-zero", "errors occurred")


@dataclass(frozen=True)
class Outcome:
    """One point after its client has ended, as the lab host saw it."""

    argv: Sequence[str]
    event: Mapping[str, Any]  # the agent's "finished"
    started_at: float
    ended_at: float
    limit_s: float
    load: Optional[Mapping[str, Any]] = None
    movement: Optional[Mapping[str, Any]] = None
    more: Mapping[str, Any] = field(default_factory=dict)  # further keys of the record


def conclude(
    directory: RunDirectory, point: Mapping[str, Any], outcome: Outcome, host: verdict.HostFacts
) -> dict[str, Any]:
    """Write the point's files and return its record, written last.

    The client's output is on disk before anything reads it. Output that is no good result is kept
    under another name, with the cause in the record.

    Raises:
        FileWriteError: the disk is full; no record was written then.
    """
    point_id = point["id"]
    if outcome.event["stderr"]:
        atomic_file.write_text(
            directory.stderr_path(point_id), outcome.event["stderr"], durable=False
        )
    client = point.get("client", workload.FIO)
    path = directory.output_path(point_id, client)
    atomic_file.write_text(path, outcome.event["stdout"])
    kept_path = directory.bad_output_path(point_id, client)
    # A message names the file that will be there.
    rows, cause = read_output(point, outcome, str(kept_path))
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
        "output_file": None if cause else f"points/{path.name}",
        "output_sha256": None if cause else run_directory.sha256(path),
        "load": outcome.load,
        "movement": outcome.movement,
        "verdict": _judge(point, outcome, [row.as_dict() for row in rows], host, cause),
        **outcome.more,
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
        "output_file": None,
        "output_sha256": None,
        "load": None,
        "movement": None,
        "verdict": verdict.verdict([verdict.reason("failed", cause)]),
    }
    atomic_file.write_json(directory.record_path(point["id"]), record)
    return record


def forget(directory: RunDirectory, point_id: str) -> None:
    """Remove what an earlier try of a point left."""
    outputs = [
        path
        for client in workload.CLIENTS
        for path in (
            directory.output_path(point_id, client),
            directory.bad_output_path(point_id, client),
        )
    ]
    outputs += directory.raw_paths(point_id)
    for path in (directory.record_path(point_id), *outputs, directory.stderr_path(point_id)):
        path.unlink(missing_ok=True)


def _head(point: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "stack", "environment", "workload", "repetition", "runs_on")
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: point[name] for name in names},
        "client": point.get("client", workload.FIO),
        "fio_options": dict(point["fio"]),
    }


def read_output(
    point: Mapping[str, Any], outcome: Outcome, file: str
) -> tuple[list[fio_output.FioRow], Optional[str]]:
    """Return the rows of a client's output and, where they are no result, the cause."""
    client = point.get("client", workload.FIO)
    cause = outcome.event.get("cause") or _ending(client, outcome)
    if cause:
        return [], cause
    text = outcome.event["stdout"]
    try:
        if client != workload.FIO:
            row = client_output.row_of(client, text, point["fio"], file=file)
            return [row], None
        output = fio_output.output_from_text(text, file=file)
    except (fio_output.FioOutputError, client_output.ClientOutputError) as error:
        return [], str(error)
    codes = [*(job.error for job in output.failed_jobs), *(row.error for row in output.rows)]
    errors = sorted({code for code in codes if code})
    if errors:
        return [], "fio reports " + ", ".join(f"error {n} ({os.strerror(n)})" for n in errors)
    rows = list(output.rows)
    return rows, None if rows else "fio ended well but did no I/O"


def _ending(client: str, outcome: Outcome) -> Optional[str]:
    """Return why the end of the process is no good end, or None."""
    event = outcome.event
    if event.get("timed_out"):
        return f"{client} did not end within {outcome.limit_s:.0f} s and was stopped"
    code = event["exit_code"]
    if code == 0:
        nothing = client_output.cause_of_nothing(event["stderr"])
        return f"{client} ended well but did no I/O: {nothing}" if nothing else None
    said = telling_line(event["stderr"])
    if code is None:
        return said
    if code == -signal.SIGILL:
        said = _ILLEGAL
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    return f"{client} {how}" + (f": {said}" if said else "")


def telling_line(stderr: str) -> str:
    """Return the line that names the cause: fio's first own, SPDK's first error, else the last."""
    meant = xnvme_errors.meaning(stderr)
    if meant:
        return meant
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.endswith(_FAREWELLS)]
    own = [line for line in lines if line.startswith("fio:")]
    errors = [line for line in lines if "*ERROR*:" in line]
    return (own or errors or lines[-1:] or [""])[0][:300]


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
        point["runs_on"], point["fio"], rows, outcome.load, host, outcome.movement,
        device_count=sum(len(part["devices"]) or 1 for part in point.get("parts", ())) or 1,
        shared_ratio=outcome.more.get("shared_ratio"),
    )  # fmt: skip
    return verdict.point_verdict(facts)
