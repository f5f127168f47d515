# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of fio points on one host, without guests → a plan that the executor runs."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job
from ansible_collections.nvmelab.bench.plugins.module_utils.run import directory as run_directory
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_agent

# For a point whose size ends it: nobody knows how long that takes.
UNKNOWN_S = 600.0
KEYS = ("id", "filename", "fio")


def plan_of(
    points: Sequence[Mapping[str, Any]], *, run_id: str, disposable_devices: Sequence[str]
) -> dict[str, Any]:
    """Return the plan; nothing was touched yet.

    Args:
        points: ``{"id": …, "filename": path or None, "fio": {fio's words}}`` each.
        run_id: names the run.
        disposable_devices: paths of devices whose content may be lost.

    Raises:
        BadInputError: a point that cannot be meant, or one that would write to a device not
            named disposable or in use.
    """
    if not points:
        raise BadInputError("points: found none; nothing would be measured")
    for point in points:
        _check(point)
        _refuse_to_destroy(point, disposable_devices)
    _refuse_twins([point["id"] for point in points])
    return {
        "schema_version": 1,
        "run_id": run_id,
        "host": socket.gethostname(),
        "experiment": {"name": "sweep", "digest": run_directory.plan_digest({"points": points})},
        "seed": None,
        "repetitions": 1,
        "layout": "host",
        "accelerator": "none",
        "skips": [],
        "environments": {"host": {"targets": [], "guest": None, "host_files": []}},
        "points": [_point(point) for point in points],
    }


def writes_to_device(point: Mapping[str, Any]) -> bool:
    """Whether a point would change what a device holds; files in /dev/shm are no devices."""
    filename = point.get("filename")
    if not filename or fio_job.is_read_only(point["fio"]):
        return False
    path = os.path.realpath(filename)
    return _is_device(path) or (path.startswith("/dev/") and not path.startswith("/dev/shm/"))  # noqa: S108


def _check(point: Mapping[str, Any]) -> None:
    unknown = sorted(set(point) - set(KEYS))
    if unknown:
        raise BadInputError(f"points: found key {unknown[0]!r}, wanted only {', '.join(KEYS)}")
    if not isinstance(point.get("fio"), dict) or "rw" not in point["fio"]:
        raise BadInputError(f"point {point.get('id')!r}: wanted fio: with at least rw: in it")
    if not run_directory.RUN_ID.fullmatch(str(point.get("id", ""))):
        raise BadInputError(
            f"points: found id {point.get('id')!r}, wanted letters, digits, '.', '_', '-'"
        )
    fio_job.argv(point["fio"], point.get("filename"))
    fio_job.inflight_count(point["fio"])  # judged after the run: a number now, or never


def _refuse_to_destroy(point: Mapping[str, Any], disposable_devices: Sequence[str]) -> None:
    if not writes_to_device(point):
        return
    filename = point["filename"]
    path = os.path.realpath(filename)
    if path not in [os.path.realpath(device) for device in disposable_devices]:
        raise BadInputError(
            f"point {point['id']}: rw={point['fio']['rw']} would destroy what {filename} holds; "
            "if that may be lost, name it in disposable_devices"
        )
    if _is_device(path):
        try:
            guest_agent.refuse_if_in_use(Path(path).name)
        except guest_agent.DeviceError as error:
            raise BadInputError(f"point {point['id']}: {error}; free it first") from error


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return False


def _refuse_twins(names: Sequence[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise BadInputError(f"points: id {twins[0]!r} is there more than once")


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    fio = dict(point["fio"])
    filename: Optional[str] = point.get("filename")
    runtime = fio_job.runtime_s(fio)
    ramp = fio_job.seconds_of(fio.get("ramp_time", 0)) or 0.0
    return {
        "id": str(point["id"]),
        "environment": "host",
        "stack": "host",
        "workload": str(point["id"]),
        "repetition": 1,
        "runs_on": "host",
        "device": None,
        "filename": filename,
        "fio": fio,
        "expected_s": UNKNOWN_S if runtime is None else runtime + ramp,
    }
