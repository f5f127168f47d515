# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a guest or a storage target to a state, once: what the modules of these names do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import running as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import SLOTS
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import (
    GuestError,
    RunningGuest,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.host import capabilities
from ansible_collections.nvmelab.bench.plugins.module_utils.module_diff import diff
from ansible_collections.nvmelab.bench.plugins.module_utils.target import storage_target
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
    RunningTarget,
    TargetError,
    load_target,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

_GUEST_OPTIONS = (
    *("name", "vcpus", "memory_mib", "hugepages", "kernel_args", "iommu"),
    *("cpus", "iothread_cpus"),
)
_TARGET_OPTIONS = ("name", "kind", "cpus", "hugepages", "interrupt_mode", "unit", "exports")
_Running = TypeVar("_Running", bound=Union[RunningGuest, RunningTarget])


def guest_spec(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the specification of a guest from the module's options: as a plan writes it."""
    devices = []
    for number, given in enumerate(options["devices"]):
        slot = given.get("slot")
        devices.append(
            {
                "name": given["name"],
                "slot": _slot(options, number) if slot is None else slot,
                "model": given["model"],
                "properties": given.get("properties") or {},
                "iothreads": given.get("iothreads") or 0,
                "backend": given.get("backend"),
                "export": given["name"] if given.get("socket") else None,
            }
        )
    return {**{key: options[key] for key in _GUEST_OPTIONS}, "devices": devices}


def _slot(options: Mapping[str, Any], number: int) -> int:
    """Return the slot of a device that names none: the one that a plan gives it, too."""
    if number >= len(SLOTS):
        raise BadInputError(
            f"guest {options['name']}: {len(options['devices'])} devices: bus 0 has room for "
            f"{len(SLOTS)}; give the others to a second guest"
        )
    slot: int = SLOTS[number]
    return slot


def start_guest(
    options: Mapping[str, Any], directory: Path, *, check_mode: bool
) -> tuple[bool, Optional[dict[str, Any]]]:
    """Return whether a guest was started, and what is to know of it (null in check mode).

    Raises:
        GuestError: it cannot be started, or another guest of that name runs.
    """
    spec = guest_spec(options)
    sockets = {d["name"]: d["socket"] for d in options["devices"] if d.get("socket")}

    def start() -> RunningGuest:
        host = capabilities.probe(
            Path(options["root"]),
            qemu_path=options["qemu_path"],
            wanted_accelerator=options["accelerator"],
        )
        for part, remedy in (("qemu", "qemu"), ("guest_image", "guest_image")):
            if host[part] is None:
                raise GuestError(f"{spec['name']}: no {part} here; run the role {remedy} first")
        return launch_guest(
            spec,
            directory=directory,
            image=host["guest_image"],
            qemu=host["qemu"],
            accelerator=host["accelerator"]["name"],
            deadline_s=options["deadline_s"],
            sockets=sockets,
        ).wait()

    existing = guest.load_guest(directory, spec["name"])
    changed, running = _ensure(existing, spec, GuestError, start, check_mode=check_mode)
    return changed, running.summary() if running else None


def start_target(
    options: Mapping[str, Any], directory: Path, *, check_mode: bool
) -> tuple[bool, Optional[dict[str, Any]]]:
    """Return whether a storage target was started, and what is to know of it.

    Raises:
        TargetError: it cannot be started, or another target of that name runs.
    """
    spec = {key: options[key] for key in _TARGET_OPTIONS}

    def start() -> RunningTarget:
        host = capabilities.probe(
            Path(options["root"]),
            qemu_path=options["qemu_path"],
            spdk_directory=options["spdk_directory"],
            wanted_accelerator="tcg",  # a target needs none, so none is tried
        )
        return storage_target.start_target(spec, directory=directory, capabilities=host)

    storage_target.require_exports(spec)
    existing = load_target(directory, spec["name"])
    changed, running = _ensure(existing, spec, TargetError, start, check_mode=check_mode)
    return changed, running.summary() if running else None


def stop(running: Union[RunningGuest, RunningTarget, None], *, check_mode: bool) -> bool:
    """Return whether there was something to stop: a process, or what a dead one left behind."""
    if running is not None and not check_mode:
        running.stop()
    return running is not None


def state_diff(what: str, state: str, *, changed: bool) -> list[dict[str, str]]:
    """Return what Ansible shows with --diff when something comes to this state."""
    other = {"started": "stopped", "stopped": "started"}[state]
    return diff(what, [other if changed else state], [state])


def _ensure(
    existing: Optional[_Running],
    spec: Mapping[str, Any],
    error: type[NvmelabError],
    start: Callable[[], _Running],
    *,
    check_mode: bool,
) -> tuple[bool, Optional[_Running]]:
    """Return (changed, running): the one that is there, when it is as wanted, else a new one."""
    if existing is not None and processes.is_alive(existing.process):
        if existing.spec != spec:
            differing = [key for key in spec if spec[key] != existing.spec.get(key)]
            raise error(
                f"{existing.name} already runs (pid {existing.process.pid}) with another "
                f"{', '.join(differing)}; stop it first (state: stopped)"
            )
        existing.check()
        return False, existing
    if check_mode:
        return True, None
    if existing is not None:
        existing.stop()  # it died by itself: clear away what it left
    return True, start()
