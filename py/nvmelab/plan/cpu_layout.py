# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's CPU layout, as nvmelab.bench.cpu_layout_info returned it, in a plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import (
    TARGETS,
    guest_name,
    guests_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import TARGET
from nvmelab.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA_VERSION = 1
RECORDED = ("layout", "picture", "kernel_args")
KEYS = (*RECORDED, "pinning")

Layout = dict[str, Any]


class CpuLayoutError(BadInputError):
    """A CPU layout that is unreadable, of another version, or made for other environments."""


def read_layout(path: Path) -> Layout:
    """The layout in the JSON file ``path``, the module's whole result or its four keys."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CpuLayoutError(f"{path}: cannot read the CPU layout: {error}") from error
    return checked_layout(data, source=str(path))


def checked_layout(data: Any, *, source: str = "CPU layout") -> Layout:
    """``data`` reduced to the four keys of a layout; raises CpuLayoutError when one lacks."""
    found = sorted(data) if isinstance(data, dict) else type(data).__name__
    if not isinstance(data, dict) or any(key not in data for key in KEYS):
        raise CpuLayoutError(
            f"{source}: found {found}, wanted {', '.join(KEYS)}, as the module "
            "nvmelab.bench.cpu_layout_info returns them"
        )
    version = data["layout"].get("schema_version")
    if version != SCHEMA_VERSION:
        raise CpuLayoutError(
            f"{source}: layout.schema_version: found {version!r}, wanted {SCHEMA_VERSION}; "
            "use the same nvmelab on the control node and for the lab hosts' collection"
        )
    return {key: data[key] for key in KEYS}


def recorded(layout: Layout | None) -> Layout | None:
    """What a plan keeps of a layout: its pinning is where it is applied."""
    return None if layout is None else {key: layout[key] for key in RECORDED}


def pinned(environments: Mapping[str, Any], layout: Layout | None) -> dict[str, Any]:
    """The environments with the layout's CPUs where the experiment names none.

    QEMU's main loop works for devices without IOThreads, so it and QEMU's helpers run where
    IOThreads do, or with the host's own tasks where storage targets serve all devices. fio on the
    host runs where the guest's vCPUs do otherwise.

    Raises:
        CpuLayoutError: the layout was made for other guests or targets.
    """
    if layout is None:
        return dict(environments)
    targets = [target for one in environments.values() for target in one["targets"]]
    counted = any(target.get("cores") for target in targets)
    return {name: _pinned(one, layout, counted=counted) for name, one in environments.items()}


def _pinned(environment: Mapping[str, Any], layout: Layout, *, counted: bool) -> dict[str, Any]:
    cpus = {guest["name"]: guest for guest in layout["pinning"]["guests"]}
    housekeeping = layout["layout"]["housekeeping"]
    guests = []
    for number, guest in enumerate(guests_of(environment)):
        if guest_name(number) not in cpus:
            has = "no guest" if not cpus else f"{len(cpus)} guest{'s' if len(cpus) > 1 else ''}"
            raise CpuLayoutError(
                f"CPU layout: it has {has}, and the plan has {guest['name']}; lay out the CPUs for "
                "this experiment"
            )
        guests.append(_guest(guest, cpus[guest_name(number)], housekeeping))
    targets = [_target(target, layout, counted=counted) for target in environment["targets"]]
    if not guests:
        own = next((guest["cpus"] for guest in cpus.values()), None)
        return {**environment, "targets": targets, "cpus": own}
    peers = {"peers": guests[1:]} if guests[1:] else {}
    return {**environment, "targets": targets, "guest": guests[0], **peers}


def _guest(guest: Mapping[str, Any], cpus: Mapping[str, Any], housekeeping: str) -> dict[str, Any]:
    own = guest["cpus"] or cpus["cpus"]
    if not guest["cpus"] and cpus["vcpus"] < guest["vcpus"]:
        raise CpuLayoutError(
            f"CPU layout: made for a guest with {cpus['vcpus']} vCPUs, {guest['name']} has "
            f"{guest['vcpus']}; lay out the CPUs for this experiment"
        )
    iothread_cpus = guest["iothread_cpus"] or cpus["iothread_cpus"]
    return {
        **guest,
        "cpus": own,
        "iothread_cpus": iothread_cpus,
        # vCPUs without a list run where QEMU does: then that must be everywhere.
        "emulator_cpus": (iothread_cpus or housekeeping) if own else None,
    }


def _target(target: Mapping[str, Any], layout: Layout, *, counted: bool) -> dict[str, Any]:
    """The target on its CPUs of the layout: all of them, or as many as the experiment counts."""
    if target["cpus"]:
        return dict(target)
    by_name = {one["name"]: one["cpus"] for one in layout["pinning"]["targets"]}
    for name in (target["kind"], TARGETS):
        if name in by_name:
            cpus = _share(target, name, layout) if counted else by_name[name]
            return {**target, "cpus": cpus}
    raise CpuLayoutError(
        f"CPU layout: no CPUs for the target {target['name']} of kind {target['kind']}; it has "
        f"{', '.join(by_name) or 'none'}; lay out the CPUs for this experiment"
    )


def _share(target: Mapping[str, Any], name: str, layout: Layout) -> str | None:
    """The first so many of the role's CPUs; all, where overcommit left it fewer than it asked."""
    roles = {one["owner"]: one for one in layout["layout"]["roles"] if one["kind"] == TARGET}
    wanted, role = target.get("cores") or 1, roles[name]
    if role["count"] < wanted:
        raise CpuLayoutError(
            f"CPU layout: {target['name']} polls {wanted} cores, the layout is made for "
            f"{role['count']}; lay out the CPUs for this experiment"
        )
    return format_cpu_list(parse_cpu_list(role["cpus"])[:wanted]) if role["cpus"] else None
