# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a measurement deserves trust: facts in, clean or tainted with reasons out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job

# Little's law bounds what is in flight; clocks and rounding give a little over it.
LITTLE_TOLERANCE = 1.03
RUNTIME_RATIO_MIN = 0.95
STEAL_PERCENT_MAX = 1.0
# In CPUs, not in percent: a quarter of a CPU disturbs a queue pair on 2 and on 200 CPUs alike.
OTHER_CPUS_MAX = 0.25
# Conditions that a run must end under as it began.
STEADY_KEYS = ("kernel", "cmdline", "microcode", "governors", "boost", "smt", "thp")


@dataclass(frozen=True)
class HostFacts:
    """What is known of the lab host before any point runs."""

    is_virtual_machine: bool = False
    accelerator: str = "kvm"
    accelerator_reason: str = ""
    cpu_count: int = 1


@dataclass(frozen=True)
class PointFacts:
    """What was seen of one point."""

    runs_on: str
    options: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    load: Optional[Mapping[str, Optional[float]]] = None
    host: HostFacts = field(default_factory=HostFacts)


def reason(code: str, text: str) -> dict[str, str]:
    """Return one reason as it is recorded."""
    return {"code": code, "text": text}


def verdict(reasons: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the verdict for these reasons: clean without any."""
    kept = [dict(one) for one in reasons]
    return {"state": "tainted" if kept else "clean", "reasons": kept}


def point_verdict(facts: PointFacts) -> dict[str, Any]:
    """Return the verdict of a point that fio ended well."""
    return verdict(
        [
            *_host_reasons(facts),
            *_runtime_reasons(facts),
            *_inflight_reasons(facts),
            *_load_reasons(facts),
        ]
    )


def run_verdict(
    point_verdicts: Sequence[Mapping[str, Any]],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the verdict of a run: each code of its points once, and what changed meanwhile."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for one in point_verdicts:
        for entry in one["reasons"]:
            first.setdefault(entry["code"], entry["text"])
            counts[entry["code"]] = counts.get(entry["code"], 0) + 1
    total = len(point_verdicts)
    if not total:
        return verdict([reason("no-points", "no point was measured: there is nothing to trust")])
    reasons = [reason(code, f"{text} ({_of(counts[code], total)})") for code, text in first.items()]
    return verdict([*reasons, *_change_reasons(before, after)])


def _of(count: int, total: int) -> str:
    return f"all {total} points" if count == total else f"{count} of {total} points"


def _host_reasons(facts: PointFacts) -> list[dict[str, str]]:
    reasons = []
    if facts.runs_on == "guest" and facts.host.accelerator == "tcg":
        why = f" (no usable KVM: {facts.host.accelerator_reason})"
        reasons.append(
            reason("tcg", "guest ran under TCG" + (why if facts.host.accelerator_reason else ""))
        )
    if facts.host.is_virtual_machine:
        reasons.append(reason("virtual-host", "the lab host is itself a virtual machine"))
    return reasons


def _runtime_reasons(facts: PointFacts) -> list[dict[str, str]]:
    wanted = fio_job.runtime_s(facts.options)
    found = max((row["runtime_ms"] or 0 for row in facts.rows), default=0) / 1000
    if wanted is None or found >= wanted * RUNTIME_RATIO_MIN:
        return []
    return [reason("short-runtime", f"fio ran for {found:.2f} s, asked for {wanted:g} s")]


def _inflight_reasons(facts: PointFacts) -> list[dict[str, str]]:
    measured = [
        row["iops"] * row["lat_mean_ns"] / 1e9
        for row in facts.rows
        if not row["is_aggregate"] and row["lat_mean_ns"]
    ]
    allowed = fio_job.inflight_count(facts.options)
    if sum(measured) <= allowed * LITTLE_TOLERANCE:
        return []
    return [
        reason(
            "littles-law",
            f"IOPS times mean latency gives {sum(measured):.2f} I/Os in flight, "
            f"iodepth times numjobs allows {allowed}: the clocks cannot be trusted",
        )
    ]


def _load_reasons(facts: PointFacts) -> list[dict[str, str]]:
    reasons: list[dict[str, str]] = []
    load = facts.load or {}
    steal, other = load.get("steal_percent"), load.get("other_cpu_percent")
    if steal is not None and steal > STEAL_PERCENT_MAX:
        text = f"the hypervisor took {steal:.1f} % of the lab host's CPU time"
        reasons.append(reason("steal", f"{text}, more than {STEAL_PERCENT_MAX:g} %"))
    cpus = (other or 0.0) / 100 * facts.host.cpu_count
    if cpus > OTHER_CPUS_MAX:
        text = f"other processes of the lab host used {cpus:.2f} of {facts.host.cpu_count} CPUs"
        reasons.append(reason("other-load", f"{text}, more than {OTHER_CPUS_MAX:g}"))
    return reasons


def _change_reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        reason("changed-conditions", f"{key} was {before[key]!r} before and {after[key]!r} after")
        for key in STEADY_KEYS
        if key in before and key in after and before[key] != after[key]
    ]
