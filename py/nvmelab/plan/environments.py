# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the points of a plan run: guests with their devices and storage targets, and the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import SLOTS
from nvmelab.experiment.model import Experiment, Guest, Stack

HOST = "host"

_TARGET_NAMES = {
    "qemu-storage-daemon": "qsd",
    "spdk-nvmf-tgt": "nvmf-tgt",
    "spdk-vhost": "spdk-vhost",
}

Stacks = Mapping[str, Stack]


def group(experiment: Experiment, runnable: Sequence[str]) -> dict[str, list[str]]:
    """The environments' names, each with the stacks that run in it, in the file's order.

    A guest for each stack, or as many stacks in one guest as have a PCI slot there; what needs
    no device goes into the first. What runs on the host shares the environment ``host``.
    """
    stacks = {name: experiment.stacks[name] for name in runnable}
    in_guest = [name for name, stack in stacks.items() if stack.runs_on == "guest"]
    on_host = [name for name in stacks if name not in in_guest]
    if experiment.layout == "guest-per-stack":
        groups = {f"guest-{name}": [name] for name in in_guest}
    else:
        groups = _shared(in_guest, stacks)
    return groups | ({HOST: on_host} if on_host else {})


def _shared(names: Sequence[str], stacks: Stacks) -> dict[str, list[str]]:
    slotted = [name for name in names if stacks[name].device.model != "none"]
    bare = [name for name in names if name not in slotted]
    most = len(SLOTS)
    chunks = [slotted[first : first + most] for first in range(0, len(slotted), most)] or [[]]
    chunks[0] = chunks[0] + bare
    return {f"guest-{n}": chunk for n, chunk in enumerate(chunks, start=1) if chunk}


def environments(
    experiment: Experiment, groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """The environments of ``groups`` (as ``group`` made them) as the plan holds them."""
    made = {}
    for environment, names in groups.items():
        stacks = {name: experiment.stacks[name] for name in names}
        if environment == HOST:
            made[environment] = _host(stacks)
        else:
            made[environment] = _guest(environment, stacks, experiment.guest)
    return made


def _guest(name: str, stacks: Stacks, guest: Guest) -> dict[str, Any]:
    slotted = [name for name, stack in stacks.items() if stack.device.model != "none"]
    devices = [
        _device(name, stacks[name], slot) for slot, name in zip(SLOTS, slotted, strict=False)
    ]
    return {
        "targets": _targets(stacks, guest),
        "guest": {
            "name": name,
            "vcpus": guest.vcpus,
            "memory_mib": guest.memory_mib,
            "cpus": guest.cpus,
            "iothread_cpus": guest.iothread_cpus,
            "devices": devices,
        },
        "host_files": [],
    }


def _device(name: str, stack: Stack, slot: int) -> dict[str, Any]:
    served = stack.server != "qemu"
    return {
        "name": name,
        "slot": slot,
        "model": stack.device.model,
        "properties": dict(stack.device.properties),
        "iothreads": stack.device.iothreads,
        "backend": None if served else _backend(stack),
        "export": name if served else None,
    }


def _backend(stack: Stack) -> dict[str, Any]:
    return {"kind": stack.backend.kind, "size_mib": stack.backend.size_mib}


def _targets(stacks: Stacks, guest: Guest) -> list[dict[str, Any]]:
    """The storage targets, each named after the first stack that it serves.

    SPDK polls a core however little it serves, so stacks share one process for each kind and
    set of CPUs; qemu-storage-daemon sleeps when idle, so each stack has its own.
    """
    targets: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, stack in stacks.items():
        if stack.server not in _TARGET_NAMES:
            continue
        alone = (name,) if stack.server == "qemu-storage-daemon" else ()
        plain = {} if stack.server_hugepages else {"hugepages": False}
        key = (stack.server, stack.server_cpus or "", *plain, *alone)
        target = targets.setdefault(
            key,
            {
                "name": f"{_TARGET_NAMES[stack.server]}-{name}",
                "kind": stack.server,
                "cpus": stack.server_cpus,
                **plain,
                "exports": [],
            },
        )
        target["exports"].append(_export(name, stack, guest))
    return list(targets.values())


def _export(name: str, stack: Stack, guest: Guest) -> dict[str, Any]:
    return {
        "name": name,
        "transport": stack.transport,
        "backend": _backend(stack),
        # QEMU's own default for the guest's side is a queue for each vCPU.
        "num_queues": int(stack.device.properties.get("num-queues", guest.vcpus)),
    }


def _host(stacks: Stacks) -> dict[str, Any]:
    files = [
        {"name": name, "backend": _backend(stack)}
        for name, stack in stacks.items()
        if stack.backend.kind != "none"
    ]
    return {"targets": [], "guest": None, "host_files": files}
