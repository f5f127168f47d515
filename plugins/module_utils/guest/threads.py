# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pin a guest's threads: the thread ids come from QMP, the CPUs from the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_affinity import set_affinity
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import Qmp


def process_cpus(spec: Mapping[str, Any]) -> Optional[list[int]]:
    """Return the CPUs that QEMU is started on, and its helper threads stay on; None for any.

    ``emulator_cpus``, else those of its vCPUs and IOThreads. vCPUs without CPUs of their own
    inherit them, so IOThreads alone do not confine QEMU.
    """
    if spec.get("emulator_cpus"):
        return parse_cpu_list(spec["emulator_cpus"])
    if not spec.get("cpus"):
        return None
    texts = [spec[key] for key in ("cpus", "iothread_cpus") if spec.get(key)]
    return sorted({cpu for text in texts for cpu in parse_cpu_list(text)})


def pin_threads(spec: Mapping[str, Any], qmp: Qmp) -> list[dict[str, Any]]:
    """Pin as the plan says and return every thread: ``kind, name, thread_id, cpus``.

    One CPU for each vCPU when there are enough, else all of them for all vCPUs; IOThreads go
    round the CPUs of theirs. ``cpus`` is null where nothing was asked for.
    """
    vcpu_cpus = parse_cpu_list(spec["cpus"]) if spec.get("cpus") else []
    io_cpus = parse_cpu_list(spec["iothread_cpus"]) if spec.get("iothread_cpus") else []
    vcpus = sorted(qmp.execute("query-cpus-fast"), key=lambda cpu: cpu["cpu-index"])
    threads = []
    for number, cpu in enumerate(vcpus):
        own = vcpu_cpus[number : number + 1] if len(vcpu_cpus) >= len(vcpus) else vcpu_cpus
        threads.append(_pin("vcpu", f"vcpu{cpu['cpu-index']}", cpu["thread-id"], own))
    for number, io in enumerate(sorted(qmp.execute("query-iothreads"), key=lambda io: io["id"])):
        own = [io_cpus[number % len(io_cpus)]] if io_cpus else []
        threads.append(_pin("iothread", io["id"], io["thread-id"], own))
    return threads


def _pin(kind: str, name: str, thread_id: int, cpus: list[int]) -> dict[str, Any]:
    if cpus:
        set_affinity(thread_id, cpus, name)
    text = format_cpu_list(cpus) or None
    return {"kind": kind, "name": name, "thread_id": thread_id, "cpus": text}
