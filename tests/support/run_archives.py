# SPDX-License-Identifier: GPL-3.0-or-later
"""Small run directories as lab hosts send them, around one real fio output."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

FIO_OUTPUT = Path(__file__).parents[1] / "fixtures/fio/null-randrw-3.33.jsonplus.json"
RUN_ID = "20261121T090000Z-quick-1a2b"
EXPERIMENT = {"name": "quick", "stacks": {"qemu-nvme": {"ceiling": False}}}


def manifest(**changes: Any) -> dict[str, Any]:
    """A complete run's manifest."""
    return {
        "schema_version": 1,
        "run_id": RUN_ID,
        "host": "storage-a",
        "hostname": "a.example",
        "state": "complete",
        "reason": None,
        "nvmelab_version": "0.1.0",
        "started_at": "2026-11-21T09:00:00Z",
        "finished_at": "2026-11-21T09:01:00Z",
        "experiment": {"name": "quick", "digest": "0" * 64},
        "skips": [{"stack": "spdk-vfio-user", "reason": "QEMU 7.2.22 has no vfio-user-pci"}],
        "points_planned": 2,
        "points_done": 2,
        "points_failed": [],
        "verdict": {"state": "tainted", "reasons": [{"code": "tcg", "text": "no usable KVM"}]},
        **changes,
    }


def point(number: int, **changes: Any) -> dict[str, Any]:
    """A point record of state ok."""
    return {
        "schema_version": 1,
        "id": f"{number:04d}",
        "state": "ok",
        "reason": None,
        "stack": "qemu-nvme",
        "environment": "guest-1",
        "workload": "randrw-4k",
        "repetition": number,
        "runs_on": "guest",
        "fio_options": {"rw": "randrw", "bs": "4k", "iodepth": 4, "ioengine": "null"},
        "argv": ["fio", "--name=nvmelab"],
        "exit_code": 0,
        "started_at": 1795251600.5,
        "ended_at": 1795251601.75,
        "load": {"steal_percent": 0.5, "other_cpu_percent": None},
        "verdict": {"state": "tainted", "reasons": [{"code": "tcg", "text": "no usable KVM"}]},
        **changes,
    }


def members(
    *, manifest_: dict[str, Any] | None = None, points: list[dict[str, Any]] | None = None
) -> dict[str, bytes]:
    """Name -> content of a run directory's files; good points have fio's output beside them."""
    head = manifest_ or manifest()
    points = [point(1), point(2)] if points is None else points
    plan = {"schema_version": 1, "experiment": {"name": "quick", "document": EXPERIMENT}}
    files = {"manifest.json": json.dumps(head).encode(), "plan.json": json.dumps(plan).encode()}
    for record in points:
        files[f"points/{record['id']}.json"] = json.dumps(record).encode()
        if record["state"] == "ok":
            files[f"points/{record['id']}.fio.json"] = FIO_OUTPUT.read_bytes()
    files["logs/executor.log"] = b"started\n"
    return {f"{head['run_id']}/{name}": data for name, data in files.items()}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Write the files as .tar.gz; the path."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def archive(folder: Path, name: str = "run.tar.gz", **changes: Any) -> Path:
    """Pack a run whose manifest differs by ``changes``; ``points`` gives other point records."""
    points = changes.pop("points", None)
    folder.mkdir(parents=True, exist_ok=True)
    return pack(folder / name, members(manifest_=manifest(**changes), points=points))
