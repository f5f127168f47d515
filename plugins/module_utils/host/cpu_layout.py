# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which CPU does what: topology and request in, layout out; same input, same layout. Pure.

Cores are handed out whole, so a role's SMT siblings never work for another role. Everything that
is not housekeeping is isolated, with what stays idle or spare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_cores import (
    Core,
    cores_missing,
    cores_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_placement import (
    boot_core,
    place,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_sharing import share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import (
        Request,
        Role,
    )
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import Topology


class TooFewCpusError(BadInputError):
    """The machine has too few cores; ``missing_cores`` more of its widest kind would do."""

    def __init__(self, message: str, missing_cores: int) -> None:
        super().__init__(message)
        self.missing_cores = missing_cores


@dataclass(frozen=True)
class Assignment:
    """The CPUs of one role, sorted."""

    role: Role
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Every CPU's work. ``assignments`` begins with housekeeping, then the request's order.

    ``idle``: threads that nothing may use, as their core belongs to a role that is alone on it or
    needs no more. ``spare``: cores without a role. ``taints``: why numbers taken on this layout
    deserve less trust; ``remarks``: what a person should know.
    """

    assignments: tuple[Assignment, ...]
    isolated: tuple[int, ...]
    idle: tuple[int, ...]
    spare: tuple[int, ...]
    taints: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def housekeeping(self) -> tuple[int, ...]:
        """The CPUs of the host itself and of interrupts."""
        return self.assignments[0].cpus


def lay_out(topology: Topology, request: Request) -> Layout:
    """Return who works where.

    Explicit lists are kept. Then housekeeping gets the core of the lowest CPU, which the kernel
    boots on, and after it efficiency cores before others. Each unit goes where it fits whole: an
    L3 cache, a node, the machine; the device's node first, performance cores first.

    Raises:
        BadInputError: a list names a CPU that is absent or offline, or two lists overlap.
        TooFewCpusError: not everybody gets CPUs of their own, and ``overcommit`` is not asked for.
    """
    cores = cores_of(topology)
    given = {role: role.cpus for role in request.roles if role.cpus is not None}
    _refuse_bad_lists(topology, given)
    free = [core for core in cores if not any(set(core.cpus) & set(c) for c in given.values())]
    placed, lacking = place(free, request)
    split = list(_split_cores(cores, given))
    if not request.overcommit:
        _refuse_too_few(topology, max(len(core.cpus) for core in cores), free, request, lacking)
        if split:
            raise BadInputError(f"{'; '.join(split)}; give whole cores, or set overcommit")
    cpus = {**given, **placed}
    shared = share(cores, request.roles, cpus, lacking)
    return _describe(cores, request, {**cpus, **shared.cpus}, (*split, *shared.reasons))


def _describe(
    cores: Sequence[Core],
    request: Request,
    cpus: Mapping[Role, tuple[int, ...]],
    taints: tuple[str, ...],
) -> Layout:
    assignments = tuple(Assignment(role, cpus[role]) for role in request.roles)
    used = {cpu for one in assignments for cpu in one.cpus}
    busy = [core for core in cores if used.intersection(core.cpus)]
    every = [cpu for core in cores for cpu in core.cpus]
    return Layout(
        assignments=assignments,
        isolated=tuple(sorted(set(every).difference(assignments[0].cpus))),
        idle=tuple(sorted({cpu for core in busy for cpu in core.cpus} - used)),
        spare=tuple(sorted(cpu for core in cores if core not in busy for cpu in core.cpus)),
        taints=taints,
        remarks=tuple(_remarks(cores, request, assignments)),
    )


def _refuse_bad_lists(topology: Topology, given: Mapping[Role, tuple[int, ...]]) -> None:
    owners: dict[int, Role] = {}
    for role, cpus in given.items():
        for what, there in (("absent", topology.present), ("offline", topology.online)):
            if wrong := set(cpus).difference(there):
                raise BadInputError(
                    f"{role.label}: CPUs {format_cpu_list(wrong)} are {what}; "
                    f"online here are {format_cpu_list(topology.online)}"
                )
        if twice := [cpu for cpu in cpus if cpu in owners]:
            raise BadInputError(
                f"{role.label}: CPUs {format_cpu_list(twice)} are given to "
                f"{owners[twice[0]].label} too; wanted each CPU in one list"
            )
        owners.update(dict.fromkeys(cpus, role))


def _split_cores(cores: Sequence[Core], given: Mapping[Role, tuple[int, ...]]) -> Iterator[str]:
    """Return a reason for each core that explicit lists give to several roles."""
    for core in cores:
        owners = [role.label for role, cpus in given.items() if set(cpus) & set(core.cpus)]
        if len(owners) > 1:
            yield f"{' and '.join(owners)} share the core of CPUs {format_cpu_list(core.cpus)}"


def _refuse_too_few(
    topology: Topology,
    widest: int,
    free: Sequence[Core],
    request: Request,
    lacking: Mapping[Role, int],
) -> None:
    if not lacking:
        return
    missing = _missing(widest, free, request)
    asked = ", ".join(f"{role.label} {role.count}" for role in request.roles)
    kind = f" of {widest} threads" if widest > 1 else ""
    smt = "let siblings work (smt: shared), " if widest > 1 else ""
    off = f"; CPUs {format_cpu_list(topology.offline)} are offline" if topology.offline else ""
    raise TooFewCpusError(
        f"CPU layout: {missing} more core{'s' if missing > 1 else ''}{kind} needed for {asked}, "
        f"beside CPUs {format_cpu_list(topology.online)}{off}; ask for less, "
        f"{smt}or share CPUs (overcommit: true), which taints the results",
        missing,
    )


def _missing(widest: int, free: Sequence[Core], request: Request) -> int:
    widths = [len(core.cpus) for core in free]
    roles = [role for role in request.roles if role.cpus is None]
    if free and request.housekeeping in roles:
        # Housekeeping has the boot core first, whatever its width.
        widths.remove(len(boot_core(free).cpus))
        rest = replace(request.housekeeping, count=request.housekeeping.count - 1)
        roles = [rest, *roles[1:]]
    return cores_missing(widths, roles, widest)


def _remarks(
    cores: Sequence[Core], request: Request, assignments: Sequence[Assignment]
) -> Iterator[str]:
    """Return what is allowed and yet worth knowing."""
    nodes = {core.node for core in cores}
    if request.device_node is not None and request.device_node not in nodes:
        yield f"the device's node {request.device_node} has no CPU online"
    if cores[0].cpus[0] not in assignments[0].cpus:
        yield (
            f"CPU {cores[0].cpus[0]}, which the kernel boots on, is not housekeeping: many kernels "
            "keep it out of nohz_full"
        )
    for one in assignments[1:]:
        efficient = _among(one.cpus, [core for core in cores if core.efficient])
        if efficient:
            yield f"{one.role.label}: on efficiency cores (CPUs {format_cpu_list(efficient)})"
        far = _among(one.cpus, [core for core in cores if core.node != request.device_node])
        if request.device_node in nodes and far:
            yield (
                f"{one.role.label}: not on the device's node {request.device_node} "
                f"(CPUs {format_cpu_list(far)})"
            )


def _among(cpus: Sequence[int], cores: Sequence[Core]) -> list[int]:
    there = {cpu for core in cores for cpu in core.cpus}
    return [cpu for cpu in cpus if cpu in there]
