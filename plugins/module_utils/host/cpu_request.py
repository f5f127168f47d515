# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a CPU layout: housekeeping, storage targets, guests; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOUSEKEEPING = "housekeeping"
TARGET = "target"
VCPU = "vcpu"
IOTHREAD = "iothread"
# Which roles have their cores' other threads idle: those that poll (storage targets and
# IOThreads), all, or none.
SMT_POLICIES = ("pollers_alone", "alone", "shared")
_ALONE: dict[str, tuple[str, ...]] = {
    "pollers_alone": (TARGET, IOTHREAD),
    "alone": (TARGET, IOTHREAD, VCPU),
    "shared": (),
}
DEFAULT_HOUSEKEEPING_CORES = 2

CpuTuple = tuple[int, ...]


@dataclass(frozen=True)
class Role:
    """CPUs for one purpose: ``count`` of them, or exactly ``cpus``.

    Housekeeping counts whole cores, the others CPUs. ``owner`` is the name of the target or guest.
    ``alone``: one thread a core, the others stay idle.
    """

    kind: str
    owner: str
    count: int
    alone: bool = False
    cpus: Optional[CpuTuple] = None

    @property
    def label(self) -> str:
        """How messages and pictures call it."""
        return {
            HOUSEKEEPING: HOUSEKEEPING,
            TARGET: f"target {self.owner}",
            VCPU: f"vCPUs of {self.owner}",
            IOTHREAD: f"IOThreads of {self.owner}",
        }[self.kind]


@dataclass(frozen=True)
class Request:
    """All roles. Those of one unit (a target; a guest's vCPUs and IOThreads) belong close."""

    housekeeping: Role = Role(HOUSEKEEPING, "", DEFAULT_HOUSEKEEPING_CORES)
    units: tuple[tuple[Role, ...], ...] = ()
    device_node: Optional[int] = None
    overcommit: bool = False

    @property
    def roles(self) -> tuple[Role, ...]:
        """Housekeeping first, then as asked for."""
        return (self.housekeeping, *(role for unit in self.units for role in unit))


def make_request(options: Mapping[str, Any], device_node: Optional[int] = None) -> Request:
    """Return the request that options mean.

    Args:
        options: ``housekeeping_cores`` or ``housekeeping_cpus``; ``targets``, each with ``name``
            and ``cores`` or ``cpus``; ``guests``, each with ``name``, ``vcpus`` or ``cpus``,
            ``iothreads`` or ``iothread_cpus``; ``smt``, ``overcommit``. All may be missing or
            None. CPUs are kernel CPU lists.
        device_node: the NUMA node to be close to.

    Raises:
        BadInputError: a count is out of range, does not agree with its list, or a name is twice.
    """
    smt = options.get("smt") or SMT_POLICIES[0]
    if smt not in _ALONE:
        raise BadInputError(f"smt: found {smt!r}, wanted one of {', '.join(SMT_POLICIES)}")
    targets = _named("target", options.get("targets") or ())
    guests = _named("guest", options.get("guests") or ())
    return Request(
        housekeeping=_housekeeping(options),
        units=(
            *((_target(name, part, smt),) for name, part in targets),
            *(_guest(name, part, smt) for name, part in guests),
        ),
        device_node=device_node,
        overcommit=bool(options.get("overcommit")),
    )


def _named(kind: str, parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return each part with its name; one without is called by its place, ``guest0``."""
    named = [(str(part.get("name") or f"{kind}{n}"), part) for n, part in enumerate(parts)]
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise BadInputError(f"{kind}s: the name {name!r} is there twice; wanted each once")
    return named


def _housekeeping(options: Mapping[str, Any]) -> Role:
    count = options.get("housekeeping_cores")
    if options.get("housekeeping_cpus"):
        if count is not None:
            raise BadInputError("housekeeping_cores and housekeeping_cpus: give one of them")
        return _role(HOUSEKEEPING, "", None, options["housekeeping_cpus"], "shared")
    return _role(
        HOUSEKEEPING, "", DEFAULT_HOUSEKEEPING_CORES if count is None else count, None, "shared"
    )


def _target(name: str, part: Mapping[str, Any], smt: str) -> Role:
    return _role(TARGET, name, part.get("cores"), part.get("cpus"), smt)


def _guest(name: str, part: Mapping[str, Any], smt: str) -> tuple[Role, ...]:
    roles = [_role(VCPU, name, part.get("vcpus"), part.get("cpus"), smt)]
    if part.get("iothreads") or part.get("iothread_cpus"):
        roles.append(_role(IOTHREAD, name, part.get("iothreads"), part.get("iothread_cpus"), smt))
    return tuple(roles)


def _role(kind: str, owner: str, count: Optional[int], text: Optional[str], smt: str) -> Role:
    cpus = tuple(parse_cpu_list(text)) if text else None
    role = Role(kind, owner, len(cpus or ()) if count is None else count, kind in _ALONE[smt], cpus)
    if role.count < 1:
        raise BadInputError(f"{role.label}: found {role.count} CPUs, wanted 1 or more")
    if cpus is not None and len(cpus) != role.count:
        raise BadInputError(
            f"{role.label}: found {len(cpus)} CPUs ({text}) for {role.count}; "
            "wanted as many CPUs as the count says, or one of the two"
        )
    return role
