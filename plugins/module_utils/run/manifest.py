# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a run: what was to be measured, where, under which conditions, how it ended."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import statistics
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file
from ansible_collections.nvmelab.bench.plugins.module_utils.host import snapshot as host_snapshot
from ansible_collections.nvmelab.bench.plugins.module_utils.run import host_state, verdict
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import (
    RunDirectory,
    RunDirectoryError,
)

SCHEMA_VERSION = 2  # 2: points of other clients than fio
NVMELAB_VERSION = "0.1.0"
ENDED = ("complete", "partial", "failed", "interrupted")
# Between how many points failed and why the first did.
THE_FIRST = "; the first: "


def now() -> str:
    """Return the time of day in UTC, as the manifest writes it."""
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")[:-6] + "Z"


def draft(
    plan: Mapping[str, Any],
    capabilities: Mapping[str, Any],
    earlier: Optional[Mapping[str, Any]] = None,
) -> dict[str, Any]:
    """Return the manifest of a run that begins, or goes on after an earlier end."""
    earlier = earlier or {}
    experiment = plan["experiment"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": plan["run_id"],
        "host": plan["host"],
        "hostname": socket.gethostname(),
        "state": "running",
        "reason": None,
        "nvmelab_version": NVMELAB_VERSION,
        "started_at": earlier.get("started_at") or now(),
        "resumed_at": [*earlier.get("resumed_at", []), *([now()] if earlier else [])],
        "finished_at": None,
        "experiment": {name: experiment[name] for name in ("name", "digest")},
        "seed": plan["seed"],
        "repetitions": plan["repetitions"],
        "layout": plan["layout"],
        "skips": plan["skips"],
        "cpu_layout": plan.get("cpu_layout"),
        "points_planned": len(plan["points"]),
        "points_done": 0,
        "points_failed": [],
        "capabilities": dict(capabilities),
        "conditions": {"before": host_snapshot.snapshot(), "after": None},
        "tuning": earlier.get("tuning", "off"),
        "host_state": earlier.get("host_state"),
        "remarks": list(earlier.get("remarks", [])),
        "verdict": None,
        "commands": dict(earlier.get("commands", {})),
        "durations_s": dict(earlier.get("durations_s", {})),
    }


def conclude(
    manifest: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    *,
    interruption: Optional[str] = None,
    fault: Optional[str] = None,
    audited: Optional[Mapping[str, Any]] = None,
) -> dict[str, Any]:
    """Return the manifest of a run that has ended.

    Args:
        manifest: as it was while the run went on.
        records: the records of all points that have one.
        interruption: why somebody ended the run early.
        fault: why the run could not go on, e.g. a full disk.
        audited: what the audit after the run has found.
    """
    done = [record for record in records if record["state"] == "ok"]
    failed = [
        {"id": record["id"], "reason": record["reason"]}
        for record in records
        if record["state"] != "ok"
    ]
    after = host_snapshot.snapshot()
    proof = host_state.ended(manifest.get("host_state"), audited, records)
    state = _state(manifest["points_planned"], len(done), interruption)
    return {
        **manifest,
        "state": state,
        "reason": interruption or fault or _points_reason(manifest, len(done), failed),
        "finished_at": now(),
        "points_done": len(done),
        "points_failed": failed,
        "conditions": {**manifest["conditions"], "after": after},
        "host_state": proof,
        "verdict": verdict.run_verdict(
            [record["verdict"] for record in done], manifest["conditions"]["before"], after, proof
        ),
        "durations_s": {**manifest["durations_s"], **_durations(records)},
    }


def records_of(directory: RunDirectory) -> list[dict[str, Any]]:
    """Return the records of the plan's points that are there and readable, in plan order."""
    found = []
    for point in directory.plan()["points"]:
        with contextlib.suppress(RunDirectoryError):
            record = directory.record(point["id"])
            if record:
                found.append(record)
    return found


def mark_interrupted(directory: RunDirectory, reason: str) -> dict[str, Any]:
    """Write and return the manifest of a run whose executor is gone without a word."""
    manifest = directory.manifest() or draft(directory.plan(), {})
    ended = conclude(manifest, records_of(directory), interruption=reason)
    atomic_file.write_json(directory.manifest_path, ended)
    return ended


def _state(planned: int, done: int, interruption: Optional[str]) -> str:
    if done == planned:
        return "complete"
    if interruption:
        return "interrupted"
    return "partial" if done else "failed"


def _points_reason(
    manifest: Mapping[str, Any], done: int, failed: Sequence[Mapping[str, Any]]
) -> Optional[str]:
    if not failed:
        return None
    planned = manifest["points_planned"]
    first = f"{failed[0]['id']}: {failed[0]['reason']}"
    return f"{len(failed)} of {planned} points failed, {done} are good{THE_FIRST}{first}"


def _durations(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ran = [record for record in records if record["ended_at"] is not None]
    gaps = [record["gap_s"] for record in ran if record["gap_s"] is not None]
    return {
        "sweep": sum(record["ended_at"] - record["started_at"] for record in ran),
        "fio": sum(record["duration_s"] or 0.0 for record in ran),
        "gap_median": statistics.median(gaps) if gaps else None,
        "gap_max": max(gaps, default=None),
    }
