# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets and guests that a run's CPU layout must have room for; pure.

A run's environments are up one at a time, and of the stacks in one only one works at a time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Iterable

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GUEST = "guest"
# What targets are called together when no two kinds of them are ever up at once.
TARGETS = "targets"
# Replaces the other one of its pair when a user gives it.
_LIST_OF = {"cores": "cpus", "iothreads": "iothread_cpus"}

Part = dict[str, Any]


def needs(
    environments: Mapping[str, Any],
    options: Mapping[str, Any],
    absent_kinds: Iterable[str] = (),
) -> dict[str, Any]:
    """Return ``options`` with the ``targets`` and ``guests`` that the environments need.

    Args:
        environments: those of a plan. CPU lists in it are kept.
        options: as :func:`cpu_request.make_request` takes them; its targets and guests say
            otherwise for those of the same name. The only guest needs no name.
        absent_kinds: kinds of storage target that this host cannot start.

    Raises:
        BadInputError: options name a target or guest that the environments have not.
    """
    targets = _targets(environments.values(), set(absent_kinds))
    guests = _guests(environments.values())
    named = [{**part, "name": part.get("name") or GUEST} for part in options.get("guests") or ()]
    return {
        **options,
        "targets": _overlaid("target", targets, options.get("targets") or ()),
        "guests": _overlaid("guest", guests, named),
    }


def _guests(environments: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Return a guest for each that is up at once, with what the hungriest of its place needs.

    The first is called ``guest``, the others ``guest-2`` and so on.
    """
    groups = [guests_of(one) for one in environments]
    most = max((len(group) for group in groups), default=0)
    places = [[group[n] for group in groups if len(group) > n] for n in range(most)]
    return [_guest(guest_name(n), guests) for n, guests in enumerate(places)]


def guests_of(environment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the guests of an environment, none of the host's."""
    first = environment["guest"]
    return [first, *environment.get("peers", ())] if first else []


def guest_name(number: int) -> str:
    """Return what the guest ``number`` (from 0) of an environment is called in a layout."""
    return f"{GUEST}-{number + 1}" if number else GUEST


def _guest(name: str, guests: Sequence[Mapping[str, Any]]) -> Part:
    part: Part = {"name": name, "vcpus": max(guest["vcpus"] for guest in guests)}
    explicit = _union(guest.get("cpus") for guest in guests)
    if explicit:
        part = {"name": name, "cpus": explicit}
    iothread_cpus = _union(guest.get("iothread_cpus") for guest in guests)
    if iothread_cpus:
        return {**part, "iothread_cpus": iothread_cpus}
    return {**part, "iothreads": max(_iothreads(guest) for guest in guests)}


def _iothreads(guest: Mapping[str, Any]) -> int:
    """Return how many threads of QEMU serve devices at a time: those of one stack's devices.

    A device without IOThreads is served by QEMU's main loop, one with a target not by QEMU.
    """
    at_once: Counter[str] = Counter()
    for device in guest["devices"]:
        if not device.get("export"):
            # The devices of one stack are its name, an underscore and a number each.
            at_once[device["name"].partition("_")[0]] += device["iothreads"]
    return max((threads or 1 for threads in at_once.values()), default=0)


def _targets(environments: Iterable[Mapping[str, Any]], absent: set[str]) -> list[Part]:
    """Return a CPU for each kind of target, or as many as the hungriest of a kind polls.

    Beside them stand those with lists of their own.

    Targets of one kind share: SPDK has one process for all its exports, daemons of QEMU sleep
    until their stack's turn comes. Kinds that are never up together share too.
    """
    together = [
        [target for target in one["targets"] if target["kind"] not in absent]
        for one in environments
    ]
    kinds = list(dict.fromkeys(target["kind"] for targets in together for target in targets))
    are_apart = all(len({target["kind"] for target in targets}) < 2 for targets in together)  # noqa: PLR2004
    one_for_all = len(kinds) > 1 and are_apart
    groups = {TARGETS: kinds} if one_for_all else {kind: [kind] for kind in kinds}
    parts: list[Part] = []
    for name, members in groups.items():
        of_kind = [t for targets in together for t in targets if t["kind"] in members]
        explicit = _union(target["cpus"] for target in of_kind)
        unpinned = [target.get("cores") or 1 for target in of_kind if not target["cpus"]]
        if unpinned:
            parts.append({"name": name, "cores": max(unpinned)})
        if explicit:
            parts.append({"name": f"{name} (server_cpus)", "cpus": explicit})
    return parts


def _union(lists: Iterable[Any]) -> str:
    return format_cpu_list({cpu for text in lists if text for cpu in parse_cpu_list(text)})


def _overlaid(what: str, parts: Sequence[Part], wishes: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Return the parts with the user's wishes for those of the same name."""
    names = [part["name"] for part in parts]
    for wish in wishes:
        if wish.get("name") not in names:
            raise BadInputError(
                f"{what}s: found {wish.get('name')!r}, wanted one of those that the experiment "
                f"needs here: {', '.join(names) or 'none'}"
            )
    by_name = {wish["name"]: _given(wish) for wish in wishes}
    return [_merged(part, by_name.get(part["name"], {})) for part in parts]


def _given(wish: Mapping[str, Any]) -> Part:
    return {key: value for key, value in wish.items() if value is not None}


def _merged(part: Part, wish: Part) -> Part:
    replaced = {count for count, text in _LIST_OF.items() if text in wish}
    return {**{key: value for key, value in part.items() if key not in replaced}, **wish}
