# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overcommit: CPUs for roles that lack some, and what that costs in trust; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import (
    HOUSEKEEPING,
    TARGET,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_cores import Core
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import Role


@dataclass(frozen=True)
class Shared:
    """The CPUs of each role that lacked some, all of them, and a reason for each."""

    cpus: dict[Role, tuple[int, ...]]
    reasons: tuple[str, ...]


def share(
    cores: Sequence[Core],
    roles: Sequence[Role],
    cpus: Mapping[Role, tuple[int, ...]],
    lacking: Mapping[Role, int],
) -> Shared:
    """Return what the roles that lack CPUs get beside their own.

    Idle siblings first, then CPUs with least other work; those of storage targets, which never
    sleep, only when there are no others. Housekeeping gets more only if lists left it without any:
    else it had its choice first.
    """
    now = dict(cpus)
    reasons = []
    for role in (role for role in roles if role in lacking):
        if role.kind == HOUSEKEEPING and now[role]:
            reasons.append(f"{role.label}: {lacking[role]} of {role.count} cores missing")
            continue
        more = _more(cores, now, role, lacking[role])
        now[role] = tuple(sorted((*now[role], *more)))
        reasons.append(_reason(role, more, lacking[role] - len(more)))
    return Shared({role: now[role] for role in lacking}, tuple(reasons))


def _more(
    cores: Sequence[Core], cpus: Mapping[Role, tuple[int, ...]], role: Role, count: int
) -> list[int]:
    """Return up to ``count`` CPUs that are not the role's, the least disturbed first."""
    load = Counter(cpu for owned in cpus.values() for cpu in owned)
    polled = {cpu for one, owned in cpus.items() if one.kind == TARGET for cpu in owned}
    nodes = Counter(core.node for core in cores if set(core.cpus) & set(cpus[role]))

    def cost(place: tuple[Core, int]) -> tuple[bool, int, bool, int, int]:
        core, cpu = place
        beside_poller = not polled.isdisjoint(core.cpus)
        return cpu in polled, load[cpu], beside_poller, -nodes[core.node], cpu

    places = [(core, cpu) for core in cores for cpu in core.cpus if cpu not in cpus[role]]
    return [cpu for _, cpu in sorted(places, key=cost)[:count]]


def _reason(role: Role, more: Sequence[int], missing: int) -> str:
    parts = []
    if more:
        parts.append(
            f"{len(more)} of {role.count} share CPUs or cores of other roles "
            f"({format_cpu_list(more)})"
        )
    if missing:
        parts.append(f"{missing} of {role.count} have no CPU")
    return f"{role.label}: {', '.join(parts)}"
