# SPDX-License-Identifier: GPL-3.0-or-later
"""Audited hosts made up: settings asked and found, what moved, and points that stand out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from nvmelab.store.records import Run

HOST_STATE = "host-state: 3 of 6 settings are not as asked: governor powersave (asked performance)"
VIRTUAL = "virtual-host: the lab host is itself a virtual machine"
STEAL = "steal: the hypervisor took 4.2 % of the lab host's CPU time, more than 1 %"


def setting(knob: str, asked: Any, effective: str | None, state: str, **more: Any) -> Any:
    """One row of an audit."""
    usual = {"group": "cpupower", "text": f"{knob} is {effective}, wanted {asked}"}
    return {"knob": knob, "asked": asked, "effective": effective, "state": state, **usual, **more}


SETTINGS = [
    setting("governor", "performance", "powersave", "differs"),
    setting("boost", "off", "on", "differs"),
    setting("smt", None, "on", "recorded"),
    setting("energy_perf_bias", None, None, "unavailable", text="no CPU has energy_perf_bias"),
    setting("thp", "never", "never", "ok", group="quiet_host"),
    setting("ksm", "off", "off", "ok", group="quiet_host"),
    setting("irqbalance", "off", "off", "ok", group="quiet_host"),
    setting("mitigations", None, "on", "recorded", group="quiet_host"),
    setting("kernel_cmdline", "nosmt", "without nosmt", "differs", group="kernel_cmdline",
            text="the running kernel lacks nosmt"),
]  # fmt: skip


def host_state(settings: list[Any] | None = None, after: list[Any] | None = None) -> dict[str, Any]:
    """What a manifest has under this key."""
    before = SETTINGS if settings is None else settings
    rows = {"before": {"rows": before}, "after": {"rows": before if after is None else after}}
    return {"asked": {}, **rows, "movement": {}}


def audited(run: Run, *, every_nth: int = 7) -> Run:
    """The run on an audited host: every point tainted, each nth for steal too, the last failed.

    ``ksm`` was switched on while it ran, though nobody had asked for that.
    """
    after = [{**row, "effective": "on", "state": "differs"} if row["knob"] == "ksm" else row
             for row in SETTINGS]  # fmt: skip
    *ids, lost = sorted({row.point_id for row in run.rows})
    rows = [
        dataclasses.replace(
            row,
            verdict="tainted",
            verdict_reasons=(VIRTUAL, HOST_STATE)
            + ((STEAL,) if ids.index(row.point_id) % every_nth == 2 else ()),
            **_moved(ids.index(row.point_id)),
        )
        for row in run.rows
        if row.point_id != lost
    ]
    (last, *_) = (row for row in run.rows if row.point_id == lost)
    reason = "fio ended with exit code 1: fio: io_u error"
    failed = {"id": lost, "reason": reason, **{name: getattr(last, name) for name in (
        "stack", "environment", "workload", "repetition", "runs_on", "rw", "bs", "iodepth",
        "numjobs")}}  # fmt: skip
    record = {**run.manifest["record"], "failed": [failed]}
    reasons = [text.partition(": ") for text in (VIRTUAL, HOST_STATE, STEAL)]
    manifest = {
        **run.manifest,
        "state": "partial",
        "points_done": run.manifest["points_planned"] - 1,
        "points_failed": [{"id": lost, "reason": reason}],
        "tuning": "audit",
        "host_state": host_state(after=after),
        "verdict": {"state": "tainted",
                    "reasons": [{"code": code, "text": text} for code, _, text in reasons]},
        "record": record,
    }  # fmt: skip
    return Run.from_parts(manifest, rows, run.histograms())


def _moved(place: int) -> dict[str, Any]:
    wave = math.sin(place)
    return {
        "frequency_min_khz": 2_400_000 + int(wave * 200_000),
        "frequency_median_khz": 3_000_000 + int(wave * 100_000),
        "frequency_max_khz": 3_600_000,
        "throttle_count": 2 if place == 5 else 0,
        "steal_percent": 4.2 if place % 7 == 2 else 0.1,
        "other_cpu_percent": 0.5 + wave / 4,
        "cpu_pressure_percent": 1.5 + wave,
    }
