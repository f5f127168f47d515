# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CPU layout as a picture, as kernel arguments, and as the CPU lists of a plan; pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_cores import Core, cores_of
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import (
    HOUSEKEEPING,
    IOTHREAD,
    TARGET,
    VCPU,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.verdict import reason, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import (
        Assignment,
        Layout,
    )
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import Topology

SCHEMA_VERSION = 1
_WIDTH = 100
_IDLE = "-"
_SPARE = "."


def kernel_args(layout: Layout) -> list[str]:
    """Return the boot arguments that keep everything else off the isolated CPUs.

    None without any isolated CPU: the kernel knows no empty list.
    """
    isolated = format_cpu_list(layout.isolated)
    if not isolated:
        return []
    return [
        *(f"{name}={isolated}" for name in ("isolcpus", "nohz_full", "rcu_nocbs")),
        f"irqaffinity={format_cpu_list(layout.housekeeping)}",
    ]


def pinning(layout: Layout) -> dict[str, list[dict[str, Any]]]:
    """Return ``targets`` (name, cpus) and ``guests`` (name, vcpus, cpus, iothreads, iothread_cpus).

    CPU lists as a plan takes them; null where there is nothing to pin. ``cpus`` of a guest with
    fewer CPUs than vCPUs is null too: no plan takes such a list.
    """
    of_kind: dict[str, dict[str, Assignment]] = {TARGET: {}, VCPU: {}, IOTHREAD: {}}
    for one in layout.assignments[1:]:
        of_kind[one.role.kind][one.role.owner] = one
    return {
        "targets": [
            {"name": name, "cpus": format_cpu_list(one.cpus) or None}
            for name, one in of_kind[TARGET].items()
        ],
        "guests": [
            _guest(name, one, of_kind[IOTHREAD].get(name)) for name, one in of_kind[VCPU].items()
        ],
    }


def layout_dict(layout: Layout) -> dict[str, Any]:
    """Return the layout as it is recorded: CPU lists as text, the verdict with its reasons."""
    return {
        "schema_version": SCHEMA_VERSION,
        "housekeeping": format_cpu_list(layout.housekeeping),
        "isolated": format_cpu_list(layout.isolated) or None,
        "idle": format_cpu_list(layout.idle) or None,
        "spare": format_cpu_list(layout.spare) or None,
        "roles": [
            {
                "kind": one.role.kind,
                "owner": one.role.owner or None,
                "count": one.role.count,
                "cpus": format_cpu_list(one.cpus) or None,
            }
            for one in layout.assignments
        ],
        "verdict": verdict(reason("cpu_overcommit", text) for text in layout.taints),
        "remarks": list(layout.remarks),
    }


def picture(topology: Topology, layout: Layout, device_node: Optional[int] = None) -> str:
    """Return lines that show each core in its place with the letter of its work.

    One bracket a core, one CPU and letter a thread: ``[0 H | 8 H]``; ``~`` before it marks an
    efficiency core. Package, node and L3 cache stand over their cores.
    """
    marks = _letters(layout)
    cells = _cells(layout, marks)
    every = sorted(cores_of(topology), key=_place)
    legend = _legend(layout, marks, efficient=any(core.efficient for core in every))
    lines = [f"{mark:<4} {text}" for mark, text in legend]
    width = max(len(_bracket(core, cells)) for core in every)
    for place, cores in groupby(every, key=_place):
        lines.extend(["", _heading(place, device_node)])
        lines.extend(_rows([_bracket(core, cells).ljust(width) for core in cores]))
    return "\n".join([*lines, "", *_below(topology, layout)])


def _below(topology: Topology, layout: Layout) -> Iterator[str]:
    if topology.offline:
        yield f"offline: {format_cpu_list(topology.offline)}"
    yield f"kernel arguments: {' '.join(kernel_args(layout)) or 'none, no CPU is isolated'}"
    yield from (f"tainted: {text}" for text in layout.taints)
    yield from (f"note: {text}" for text in layout.remarks)


def _guest(name: str, vcpus: Assignment, iothreads: Optional[Assignment]) -> dict[str, Any]:
    enough = len(vcpus.cpus) >= vcpus.role.count
    return {
        "name": name,
        "vcpus": vcpus.role.count,
        "cpus": format_cpu_list(vcpus.cpus) if enough else None,
        "iothreads": iothreads.role.count if iothreads else 0,
        "iothread_cpus": (format_cpu_list(iothreads.cpus) or None) if iothreads else None,
    }


def _letters(layout: Layout) -> dict[str, str]:
    """Return the mark of each role by its label: H, T0, V0 and I0 of the first guest, V1."""
    letters: dict[str, str] = {}
    owners: dict[str, list[str]] = {"T": [], "V": []}
    for one in layout.assignments:
        letter = {HOUSEKEEPING: "H", TARGET: "T", VCPU: "V", IOTHREAD: "I"}[one.role.kind]
        if letter == "H":
            letters[one.role.label] = letter
            continue
        names = owners["T" if letter == "T" else "V"]
        if one.role.owner not in names:
            names.append(one.role.owner)
        letters[one.role.label] = f"{letter}{names.index(one.role.owner)}"
    return letters


def _cells(layout: Layout, marks: Mapping[str, str]) -> dict[int, str]:
    """Return the mark of each CPU; shared CPUs have several."""
    works: dict[int, list[str]] = {}
    for one in layout.assignments:
        for cpu in one.cpus:
            works.setdefault(cpu, []).append(marks[one.role.label])
    return {
        **dict.fromkeys(layout.idle, _IDLE),
        **dict.fromkeys(layout.spare, _SPARE),
        **{cpu: "+".join(names) for cpu, names in works.items()},
    }


def _legend(
    layout: Layout, marks: Mapping[str, str], *, efficient: bool
) -> Iterator[tuple[str, str]]:
    for one in layout.assignments:
        yield marks[one.role.label], f"{one.role.label}: {format_cpu_list(one.cpus) or 'none'}"
    if layout.idle:
        yield _IDLE, f"idle beside its sibling: {format_cpu_list(layout.idle)}"
    if layout.spare:
        yield _SPARE, f"spare: {format_cpu_list(layout.spare)}"
    if efficient:
        yield "~", "an efficiency core"


def _place(core: Core) -> tuple[int, int, tuple[int, ...]]:
    return core.package, core.node, core.l3


def _heading(place: tuple[int, int, tuple[int, ...]], device_node: Optional[int]) -> str:
    package, node, l3 = place
    device = " (the device's)" if node == device_node else ""
    cache = f"L3 of {format_cpu_list(l3)}" if l3 else "no L3"
    return f"{f'package {package}, ' if package >= 0 else ''}node {node}{device}, {cache}"


def _bracket(core: Core, cells: Mapping[int, str]) -> str:
    threads = " | ".join(f"{cpu} {cells[cpu]}" for cpu in core.cpus)
    return f"{'~' if core.efficient else ' '}[{threads}]"


def _rows(brackets: Sequence[str]) -> Iterator[str]:
    """Yield lines of 8, 4 or 2 brackets of one width, as many as go in one."""
    each = next((n for n in (8, 4, 2) if n * (len(brackets[0]) + 1) < _WIDTH), 1)
    for start in range(0, len(brackets), each):
        yield (" " + " ".join(brackets[start : start + each])).rstrip()
