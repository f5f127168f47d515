# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a run directory says to the files of a record."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from nvmelab import __version__
from nvmelab.store import parquet
from nvmelab.store.point_row import failed_point, point_row
from nvmelab.store.records import SCHEMA_VERSION, Histograms, Row

if TYPE_CHECKING:
    from pathlib import Path

    from nvmelab.store.archive import Measured, RunDirectory

_Buckets = dict[tuple[str, str, str], Counter[int]]


def settle(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run that has ended.

    A lab host packs a run in state ``running`` only when its executor is gone: killed, or the
    host lost power. What it had measured is good.
    """
    if manifest["state"] != "running":
        return manifest
    reason = "the executor died without a word; what it had measured was kept"
    return {**manifest, "state": "interrupted", "reason": manifest.get("reason") or reason}


def write_record(staged: Path, found: RunDirectory, manifest: dict[str, Any], digest: str) -> None:
    """Write manifest, rows and histograms of the run into the folder ``staged``."""
    rows, histograms, dropped = _rows_and_histograms(found, manifest)
    parquet.write_record(staged, rows, histograms, run_id=manifest["run_id"], host=manifest["host"])
    plan = found.plan if isinstance(found.plan, dict) else {}
    record = {
        "schema_version": SCHEMA_VERSION,
        "archive_sha256": digest,
        "nvmelab_version": __version__,
        "experiment": (plan.get("experiment") or {}).get("document") or {},
        "fio_commands": {
            point_id: point["argv"]
            for point_id, point in sorted(found.points.items())
            if point.get("argv")
        },
        "dropped": dropped,
        "failed": _failed(found, {one["id"]: one["reason"] for one in dropped}),
    }
    text = json.dumps({**manifest, "record": record}, indent=1, ensure_ascii=False)
    (staged / "manifest.json").write_text(text + "\n", encoding="utf-8")


def _rows_and_histograms(
    found: RunDirectory, manifest: dict[str, Any]
) -> tuple[list[Row], Histograms, list[dict[str, str]]]:
    rows: list[Row] = []
    buckets: _Buckets = {}
    dropped: list[dict[str, str]] = []
    for point_id in sorted(found.points):
        point = {**found.points[point_id], "id": point_id}
        if point.get("state") != "ok":
            continue
        if point_id not in found.measured:
            reason = found.unreadable.get(point_id, "its fio output is not in the archive")
            dropped.append({"id": point_id, "reason": reason})
            continue
        for measured in found.measured[point_id]:
            rows.append(point_row(manifest, point, measured.values))
            _merge_bins(buckets, point_id, measured)
    histograms = {key: sorted(counts.items()) for key, counts in buckets.items()}
    return rows, histograms, dropped


def _failed(found: RunDirectory, dropped: dict[str, str]) -> list[dict[str, Any]]:
    """Return what every point without a result was, so that its gap can be shown in its place."""
    return [
        failed_point({**point, "id": point_id}, dropped.get(point_id) or str(point.get("reason")))
        for point_id, point in sorted(found.points.items())
        if point_id in dropped or point.get("state") != "ok"
    ]


def _merge_bins(buckets: _Buckets, point_id: str, measured: Measured) -> None:
    """Add one row's buckets: jobs of a point that report one by one share its histogram."""
    for kind, bins in measured.bins_ns.items():
        counts = buckets.setdefault((point_id, measured.values["direction"], kind), Counter())
        counts.update(bins)
