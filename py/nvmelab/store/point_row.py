# SPDX-License-Identifier: GPL-3.0-or-later
"""From the record of a point, as its lab host wrote it, to what the store keeps of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvmelab.store.records import COLUMNS, FIRST_CLIENT, Row

if TYPE_CHECKING:
    from collections.abc import Mapping


def point_row(
    manifest: Mapping[str, Any], point: Mapping[str, Any], measured: Mapping[str, Any]
) -> Row:
    """Return the row of one direction of a point.

    ``point`` is the run directory's ``points/<id>.json``; ``measured`` the reader's row of it,
    whose keys are column names where both have the same value.
    """
    options = point.get("fio_options") or {}
    load = point.get("load") or {}
    verdict = point.get("verdict") or {}
    values: dict[str, Any] = {name: measured.get(name) for name in COLUMNS}
    values.update(
        run_id=manifest["run_id"],
        host=manifest["host"],
        point_id=point["id"],
        environment=point.get("environment"),
        stack=point.get("stack"),
        workload=point.get("workload"),
        repetition=point.get("repetition"),
        runs_on=point.get("runs_on"),
        **_workload(options),
        client=point.get("client") or FIRST_CLIENT,
        device_count=sum(len(part["devices"]) or 1 for part in point.get("parts") or ()) or 1,
        ioengine=_text(options.get("ioengine")),
        started_at_s=point.get("started_at"),
        ended_at_s=point.get("ended_at"),
        steal_percent=load.get("steal_percent"),
        other_cpu_percent=load.get("other_cpu_percent"),
        **_movement(point.get("movement") or {}),
        verdict=verdict.get("state"),
        verdict_reasons=tuple(_reason(reason) for reason in verdict.get("reasons") or ()),
    )
    return Row(**values)


def failed_point(point: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return what a point without a result was to measure, in the words of the columns."""
    options = point.get("fio_options") or {}
    named = ("stack", "environment", "workload", "repetition", "runs_on")
    return {
        "id": point["id"],
        "reason": reason,
        **{name: point.get(name) for name in named},
        **_workload(options),
    }


def _workload(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rw": _text(options.get("rw")),
        "bs": _text(options.get("bs")),
        "iodepth": _whole(options.get("iodepth"), 1),
        "numjobs": _whole(options.get("numjobs"), 1),
    }


def _movement(movement: Mapping[str, Any]) -> dict[str, Any]:
    frequency = movement.get("frequency_khz") or {}
    temperature = movement.get("temperature_c") or {}
    return {
        **{f"frequency_{part}_khz": frequency.get(part) for part in ("min", "median", "max")},
        "throttle_count": movement.get("throttle_count"),
        "cpu_pressure_percent": movement.get("cpu_pressure_percent"),
        **{f"temperature_{when}_c": temperature.get(when) for when in ("before", "after")},
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _whole(value: object, default: int) -> int | None:
    """Return fio's number; fio's own default when the option was not given."""
    if value is None:
        return default
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else None


def _reason(reason: object) -> str:
    if isinstance(reason, dict):
        return f"{reason.get('code', '?')}: {reason.get('text', '')}"
    return str(reason)
