# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cores as a layout hands them out: whole, to one role each; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import HOUSEKEEPING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import Role
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import Topology


@dataclass(frozen=True)
class Core:
    """A core by its CPUs that are online, at least one. ``l3`` names the CPUs of its cache."""

    cpus: tuple[int, ...]
    core_id: int
    package: int
    node: int
    l3: tuple[int, ...]
    efficient: bool

    @property
    def group(self) -> tuple[int, tuple[int, ...]]:
        """What names the node and L3 cache that a core belongs to."""
        return self.node, self.l3


def cores_of(topology: Topology) -> list[Core]:
    """Return the cores in the order of their first CPU."""
    return [
        Core(cpu.siblings, cpu.core_id, cpu.package, cpu.node, cpu.l3, cpu.kind == "efficiency")
        for cpu in topology.cpus
        if cpu.number == cpu.siblings[0]
    ]


def take(
    pool: Iterable[Core], role: Role, *, thrifty: bool
) -> tuple[list[Core], tuple[int, ...], int]:
    """Return the cores that a role takes of a pool, its CPUs on them, and how many it lacks.

    In the pool's order; ``thrifty`` takes the widths that waste least instead. Housekeeping
    counts, and lacks, whole cores.
    """
    free = list(pool)
    taken: list[Core] = []
    cpus: list[int] = []
    lacking = role.count
    while lacking and free:
        width = _best_width({len(core.cpus) for core in free}, wanted(role, lacking))
        core = next(core for core in free if not thrifty or len(core.cpus) == width)
        free.remove(core)
        taken.append(core)
        used = core.cpus if role.kind == HOUSEKEEPING else core.cpus[: wanted(role, lacking)]
        cpus.extend(used)
        lacking -= 1 if role.kind == HOUSEKEEPING else len(used)
    return taken, tuple(sorted(cpus)), lacking


def wanted(role: Role, lacking: int) -> int:
    """Return how many threads of the next core a role has a use for."""
    return 1 if role.alone or role.kind == HOUSEKEEPING else lacking


def cores_missing(widths: Sequence[int], roles: Sequence[Role], widest: int) -> int:
    """Return how many more cores these roles need beside cores with so many threads each.

    The cores to add have ``widest`` threads. Exact where cores have one or two threads: full
    pairs go on wide cores and single threads on narrow ones, so neither takes the other's room.
    """
    low, high = 0, sum(role.count for role in roles)
    while low < high:
        middle = (low + high) // 2
        if _fits(Counter([*widths, *[widest] * middle]), roles):
            high = middle
        else:
            low = middle + 1
    return low


def _fits(free: Counter[int], roles: Iterable[Role]) -> bool:
    """Return whether thrifty :func:`take` would lack nothing; only widths count."""
    for role in roles:
        lacking = role.count
        while lacking > 0:
            width = _best_width(
                {width for width, left in free.items() if left}, wanted(role, lacking)
            )
            if not width:
                return False
            free[width] -= 1
            lacking -= 1 if role.kind == HOUSEKEEPING else min(width, wanted(role, lacking))
    return True


def _best_width(widths: set[int], threads: int) -> int:
    """Return the widest core that is used whole, else the narrowest; 0 without any."""
    return max((width for width in widths if width <= threads), default=min(widths, default=0))
