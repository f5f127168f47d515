# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the free cores go to whom: near the device, in one L3 cache, fast cores first; pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_cores import Core, take

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import (
        Request,
        Role,
    )

Placed = tuple[dict["Role", tuple[int, ...]], dict["Role", int]]
# As wished first; then with less and less regard for caches and nodes, never wasting a thread:
# the last one finds a place for everybody where there is one.
_ATTEMPTS = ((False, 2), (True, 2), (True, 1), (True, 0))


def place(free: Sequence[Core], request: Request) -> Placed:
    """Return the CPUs of each role that has no list of its own, and what each lacks, if any.

    Of several ways the one that lacks least; of these the one with least far from the device's
    node; of these the first.
    """

    def badness(placed: Placed) -> tuple[int, int]:
        cpus, lacking = placed
        far = {cpu for core in free if core.node != request.device_node for cpu in core.cpus}
        return sum(lacking.values()), sum(
            len(far.intersection(cpus[role])) for role in cpus if role != request.housekeeping
        )

    return min(
        (_attempt(free, request, thrifty=thrifty, depth=depth) for thrifty, depth in _ATTEMPTS),
        key=badness,
    )


def boot_core(cores: Sequence[Core]) -> Core:
    """Return the core that housekeeping begins with: the kernel boots on the lowest CPU."""
    return min(cores, key=lambda core: core.cpus)


def _attempt(free: Sequence[Core], request: Request, *, thrifty: bool, depth: int) -> Placed:
    left = list(free)
    placed: dict[Role, tuple[int, ...]] = {}
    lacking: dict[Role, int] = {}
    if request.housekeeping.cpus is None:
        _housekeep(left, request.housekeeping, placed, lacking, thrifty=thrifty)
    units = [tuple(role for role in unit if role.cpus is None) for unit in request.units]
    every = [role for unit in units for role in unit]
    order = _Order(left, every, request.device_node, thrifty=thrifty)
    for unit in units:
        for pool in order.pools(left, unit, depth):
            taken, cpus, lacks = _take_all(pool, unit, thrifty=thrifty)
            if not lacks:
                break
        placed.update(cpus)
        lacking.update(lacks)
        left = [core for core in left if core not in taken]
    return placed, lacking


def _housekeep(
    left: list[Core],
    role: Role,
    placed: dict[Role, tuple[int, ...]],
    lacking: dict[Role, int],
    *,
    thrifty: bool,
) -> None:
    first = [boot_core(left)] if left else []
    rest = sorted((c for c in left if c not in first), key=lambda c: (not c.efficient, c.cpus))
    more, cpus, lacks = take(rest, replace(role, count=role.count - len(first)), thrifty=thrifty)
    placed[role] = tuple(sorted((*cpus, *(cpu for core in first for cpu in core.cpus))))
    if lacks:
        lacking[role] = lacks
    for core in (*first, *more):
        left.remove(core)


def _take_all(
    pool: Sequence[Core], roles: Sequence[Role], *, thrifty: bool
) -> tuple[list[Core], dict[Role, tuple[int, ...]], dict[Role, int]]:
    taken: list[Core] = []
    cpus: dict[Role, tuple[int, ...]] = {}
    lacking: dict[Role, int] = {}
    for role in roles:
        more, cpus[role], lacks = take(
            [core for core in pool if core not in taken], role, thrifty=thrifty
        )
        taken.extend(more)
        if lacks:
            lacking[role] = lacks
    return taken, cpus, lacking


class _Order:
    """In which order pools of free cores are tried: home first, that is where all roles fit."""

    def __init__(
        self, free: Sequence[Core], roles: Sequence[Role], node: Optional[int], *, thrifty: bool
    ) -> None:
        self._thrifty = thrifty
        self._node = self._home_node(free, roles, node)
        self._package = next((c.package for c in free if c.node == self._node), None)
        self._group: Optional[tuple[int, tuple[int, ...]]] = None
        groups = self._groups([core for core in free if core.node == self._node])
        self._group = next((g[0].group for g in groups if self._fit(g, roles)), None)

    def pools(
        self, free: Sequence[Core], unit: Sequence[Role], depth: int
    ) -> Iterator[Sequence[Core]]:
        """Yield L3 groups (depth 2) and nodes (1) where a unit fits, and last all free cores."""
        ordered: list[Core] = []
        for _, members in groupby(sorted(free, key=self._rank), key=lambda core: core.node):
            node = list(members)
            groups = self._groups(node)
            if depth > 1:
                yield from (group for group in groups if self._fit(group, unit))
            # What fits in no cache begins with the emptiest one.
            largest = sorted(groups, key=lambda group: -len(group))
            node = sorted((c for g in largest for c in g), key=lambda core: core.efficient)
            if depth > 0 and self._fit(node, unit):
                yield node
            ordered.extend(node)
        yield ordered

    def _home_node(
        self, free: Sequence[Core], roles: Sequence[Role], wanted: Optional[int]
    ) -> Optional[int]:
        nodes: dict[int, list[Core]] = {}
        for core in sorted(free, key=lambda core: (core.node, core.efficient, core.cpus)):
            nodes.setdefault(core.node, []).append(core)
        if wanted in nodes or not nodes:
            return wanted
        roomy = (node for node, cores in nodes.items() if self._fit(cores, roles))
        return next(roomy, max(nodes, key=lambda node: (len(nodes[node]), -node)))

    def _rank(self, core: Core) -> tuple[bool, bool, int, bool, tuple[int, ...]]:
        return (
            core.node != self._node,
            core.package != self._package,
            core.node,
            core.efficient,
            core.cpus,
        )

    def _groups(self, cores: Sequence[Core]) -> list[list[Core]]:
        """Return a node's cores by L3: the home group, fast ones, then the tightest."""
        groups: dict[tuple[int, tuple[int, ...]], list[Core]] = {}
        for core in sorted(cores, key=self._rank):
            groups.setdefault(core.group, []).append(core)
        return sorted(
            groups.values(),
            key=lambda g: (g[0].group != self._group, g[0].efficient, len(g), g[0].cpus),
        )

    def _fit(self, pool: Sequence[Core], roles: Sequence[Role]) -> bool:
        return not _take_all(pool, roles, thrifty=self._thrifty)[2]
