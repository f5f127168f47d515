# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a measurement deserves trust: facts in, clean or tainted with reasons out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job
from ansible_collections.nvmelab.bench.plugins.module_utils.host import movement_reasons
from ansible_collections.nvmelab.bench.plugins.module_utils.run import host_state as proof

# Little's law bounds what is in flight; clocks and rounding give a little over it.
LITTLE_TOLERANCE = 1.03
RUNTIME_RATIO_MIN = 0.95
# Of the time of jobs whose IOPS are added; ramps and rounding need a little.
SHARED_RATIO_MIN = 0.9
STEAL_PERCENT_MAX = 1.0
# In CPUs, not in percent: a quarter of a CPU disturbs a queue pair on 2 and on 200 CPUs alike.
OTHER_CPUS_MAX = 0.25
# Conditions that a run must end under as it began.
STEADY_KEYS = ("kernel", "cmdline", "microcode", "governors", "boost", "smt", "thp")
# Those that an audit tells too, and more exactly.
AUDITED_KEYS = ("cmdline", "governors", "boost", "smt", "thp")


@dataclass(frozen=True)
class HostFacts:
    """What is known of the lab host before any point runs."""

    is_virtual_machine: bool = False
    accelerator: str = "kvm"
    accelerator_reason: str = ""
    cpu_count: int = 1
    cpu_overcommit: str = ""  # which roles of the CPU layout share CPUs
    not_as_asked: str = ""  # which settings differ from what was asked of the host


@dataclass(frozen=True)
class PointFacts:
    """What was seen of one point."""

    runs_on: str
    options: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    load: Optional[Mapping[str, Any]] = None
    host: HostFacts = field(default_factory=HostFacts)
    movement: Optional[Mapping[str, Any]] = None
    device_count: int = 1  # how many are driven at once, each by jobs of its own
    shared_ratio: Optional[float] = None  # of those jobs' time: in which all of them measured


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
            *_sum_reasons(facts),
            *_load_reasons(facts),
            *movement_reasons.point_reasons(facts.movement),
        ]
    )


def run_verdict(
    point_verdicts: Sequence[Mapping[str, Any]],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    host_state: Optional[Mapping[str, Any]] = None,
) -> dict[str, Any]:
    """Return the verdict of a run: each code of its points once, and what changed meanwhile.

    Args:
        point_verdicts: of the points that were measured.
        before: the conditions before the first of them.
        after: those after the last.
        host_state: the manifest's section, where the host was audited.
    """
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
    keys = [key for key in STEADY_KEYS if host_state is None or key not in AUDITED_KEYS]
    changed = _change_reasons(before, after, keys)
    return verdict([*reasons, *changed, *proof.run_reasons(host_state, list(first))])


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
    if facts.host.cpu_overcommit:
        reasons.append(
            reason("cpu_overcommit", f"too few CPUs for the layout: {facts.host.cpu_overcommit}")
        )
    if facts.host.not_as_asked:
        reasons.append(reason("host-state", facts.host.not_as_asked))
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
    allowed = fio_job.inflight_count(facts.options) * facts.device_count
    if sum(measured) <= allowed * LITTLE_TOLERANCE:
        return []
    return [
        reason(
            "littles-law",
            f"IOPS times mean latency gives {sum(measured):.2f} I/Os in flight, "
            f"{'devices times ' if facts.device_count > 1 else ''}iodepth times numjobs allows "
            f"{allowed}: the clocks cannot be trusted",
        )
    ]


def _sum_reasons(facts: PointFacts) -> list[dict[str, str]]:
    ratio = facts.shared_ratio
    if ratio is None or ratio >= SHARED_RATIO_MIN:
        return []
    text = f"its jobs measured together for {ratio * 100:.0f} % of their time, less than"
    why = "the sum is of no one moment; give it a longer runtime"
    return [reason("jobs-apart", f"{text} {SHARED_RATIO_MIN * 100:.0f} %: {why}")]


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
        text = f"{text}, more than {OTHER_CPUS_MAX:g}{_names(load, facts.host.cpu_count)}"
        reasons.append(reason("other-load", text))
    return reasons


def _names(load: Mapping[str, Any], cpu_count: int) -> str:
    """Return who used most of it, in CPUs, e.g. ``: apt 0.40``."""
    named = [
        f"{one['name']} {one['cpu_percent'] / 100 * cpu_count:.2f}"
        for one in load.get("busiest_others") or []
    ]
    return f": {', '.join(named)}" if named else ""


def _change_reasons(
    before: Mapping[str, Any], after: Mapping[str, Any], keys: Iterable[str]
) -> list[dict[str, str]]:
    return [
        reason("changed-conditions", f"{key} was {before[key]!r} before and {after[key]!r} after")
        for key in keys
        if key in before and key in after and before[key] != after[key]
    ]
