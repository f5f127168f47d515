# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy the lab host was with things that are not the measurement.

Source: proc(5), /proc/stat and /proc/[pid]/stat; PF_KTHREAD of linux/sched.h.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Optional

PF_KTHREAD = 0x00200000


@dataclass(frozen=True)
class CpuSample:
    """Clock ticks since boot, all CPUs together."""

    total: int
    busy: int  # user, nice and system; interrupts may be anybody's and are left out
    steal: int
    ours: int
    kernel: int  # kernel threads, which may well work for us


@dataclass(frozen=True)
class ProcessTicks:
    """What /proc/[pid]/stat tells of one process, in clock ticks."""

    pid: int
    parent: int
    flags: int
    own: int
    waited_for: int


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
    )


def load_between(
    before: Optional[CpuSample], after: Optional[CpuSample]
) -> Optional[dict[str, float]]:
    """Return ``steal_percent`` and ``other_cpu_percent`` of all CPUs' time, or None."""
    if before is None or after is None or after.total <= before.total:
        return None
    total = after.total - before.total
    other = (after.busy - before.busy) - (after.ours - before.ours) - (after.kernel - before.kernel)
    return {
        "steal_percent": 100 * (after.steal - before.steal) / total,
        "other_cpu_percent": 100 * max(0, other) / total,
    }


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
    words = tail.split()
    return ProcessTicks(
        pid=int(head.split(" ", 1)[0]),
        parent=int(words[1]),
        flags=int(words[6]),
        own=int(words[11]) + int(words[12]),
        waited_for=int(words[13]) + int(words[14]),
    )
