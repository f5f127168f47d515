# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy the lab host was with things that are not the measurement.

Source: proc(5), /proc/stat and /proc/[pid]/stat; PF_KTHREAD of linux/sched.h.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

PF_KTHREAD = 0x00200000
BUSIEST_COUNT = 3
# A process of others that used less is not worth a name.
BUSIEST_PERCENT_MIN = 0.5


@dataclass(frozen=True)
class CpuSample:
    """Clock ticks since boot, all CPUs together."""

    total: int
    busy: int  # user, nice and system; interrupts may be anybody's and are left out
    steal: int
    ours: int
    kernel: int  # kernel threads, which may well work for us
    others: Mapping[tuple[int, str], int] = field(default_factory=dict)  # (pid, name): ticks


@dataclass(frozen=True)
class ProcessTicks:
    """What /proc/[pid]/stat tells of one process, in clock ticks."""

    pid: int
    parent: int
    flags: int
    own: int
    waited_for: int
    name: str = ""


def sample(root_pids: Iterable[int], *, proc: Path = Path("/proc")) -> Optional[CpuSample]:
    """Return the ticks used so far; ours are those of the root processes and all below them.

    None where /proc cannot be read: the load is then not measured, which is not 0.
    """
    try:
        first = (proc / "stat").read_text("ascii").split("\n", 1)[0].split()
        processes = read_processes(proc)
    except (OSError, ValueError):
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = (int(word) for word in first[1:9])
    family = descendants(processes, set(root_pids))
    return CpuSample(
        total=user + nice + system + idle + iowait + irq + softirq + steal,
        busy=user + nice + system,
        steal=steal,
        ours=sum(one.own + one.waited_for for one in processes if one.pid in family),
        kernel=sum(one.own for one in processes if one.flags & PF_KTHREAD),
        others={
            (one.pid, one.name): one.own
            for one in processes
            if one.pid not in family and not one.flags & PF_KTHREAD
        },
    )


def load_between(
    before: Optional[CpuSample], after: Optional[CpuSample]
) -> Optional[dict[str, Any]]:
    """Return ``steal_percent`` and ``other_cpu_percent`` of all CPUs' time, or None.

    ``busiest_others`` names the processes behind the latter as far as they lived at both samples:
    ``name``, ``pid`` and ``cpu_percent``, of all CPUs' time too, the busiest first.
    """
    if before is None or after is None or after.total <= before.total:
        return None
    total = after.total - before.total
    other = (after.busy - before.busy) - (after.ours - before.ours) - (after.kernel - before.kernel)
    return {
        "steal_percent": 100 * (after.steal - before.steal) / total,
        "other_cpu_percent": 100 * max(0, other) / total,
        "busiest_others": _busiest(before, after),
    }


def _busiest(before: CpuSample, after: CpuSample) -> list[dict[str, Any]]:
    """Return the processes of others that used the most; one that began meanwhile began at 0."""
    total = after.total - before.total
    used = sorted(
        ((ticks - before.others.get(key, 0), *key) for key, ticks in after.others.items()),
        reverse=True,
    )
    return [
        {"name": name, "pid": pid, "cpu_percent": round(100 * ticks / total, 2)}
        for ticks, pid, name in used[:BUSIEST_COUNT]
        if 100 * ticks / total >= BUSIEST_PERCENT_MIN
    ]


def read_processes(proc: Path = Path("/proc")) -> list[ProcessTicks]:
    """Return all processes that are there; one that ends meanwhile is left out."""
    found = []
    for name in os.listdir(proc):  # noqa: PTH208  (called twice a point: Path objects are slow)
        if name.isdigit():
            one = _process(proc / name / "stat")
            if one:
                found.append(one)
    return found


def descendants(processes: Iterable[ProcessTicks], roots: set[int]) -> set[int]:
    """Return the roots and everything below them."""
    children: dict[int, list[int]] = {}
    for one in processes:
        children.setdefault(one.parent, []).append(one.pid)
    family: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid not in family:
            family.add(pid)
            todo += children.get(pid, [])
    return family


def _process(path: Path) -> Optional[ProcessTicks]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in parentheses may hold blanks and parentheses itself.
    head, _, tail = text.rpartition(")")
    pid, _, name = head.partition(" (")
    words = tail.split()
    return ProcessTicks(
        pid=int(pid),
        parent=int(words[1]),
        flags=int(words[6]),
        own=int(words[11]) + int(words[12]),
        waited_for=int(words[13]) + int(words[14]),
        name=name,
    )
