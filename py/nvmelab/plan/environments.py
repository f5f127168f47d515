# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the points of a plan run: guests with their devices and storage targets, and the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import SLOTS
from nvmelab.experiment.client_rules import is_vm_less
from nvmelab.experiment.model import Experiment, Guest, Stack
from nvmelab.plan import real_devices, sizes, user_space

if TYPE_CHECKING:
    from nvmelab.plan.host_capabilities import Capabilities

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
    no device goes into the first. Stacks that differ in their number of guests, or of cores of
    their target, share nothing; nor does one on a real device, which others get too. What runs
    on the host shares the environment ``host``, but what a storage target serves there has one of
    its own: a target polls, and would disturb the others.
    """
    stacks = {name: experiment.stacks[name] for name in runnable}
    in_guest = [name for name, stack in stacks.items() if stack.runs_on == "guest"]
    vm_less = [name for name, stack in stacks.items() if is_vm_less(stack)]
    on_host = [name for name in stacks if name not in {*in_guest, *vm_less}]
    if experiment.layout == "guest-per-stack":
        groups = {f"guest-{name}": [name] for name in in_guest}
    else:
        groups = _shared(in_guest, stacks)
    served = {f"{HOST}-{name}": [name] for name in vm_less}
    return groups | ({HOST: on_host} if on_host else {}) | served


def _shared(names: Sequence[str], stacks: Stacks) -> dict[str, list[str]]:
    """Stacks of one size of guests and target together, as many as have slots."""
    chunks: list[list[str]] = []
    open_chunks: dict[tuple[int, int | None, str | None], list[str]] = {}
    for name in (name for name in names if stacks[name].device.model != "none"):
        alone = name if real_devices.is_on_one(stacks[name]) else None
        key = (stacks[name].guests, stacks[name].server_cores, alone)
        chunk = open_chunks.get(key)
        if chunk is None or _slots([*chunk, name], stacks) > len(SLOTS):
            chunk = open_chunks[key] = []
            chunks.append(chunk)
        chunk.append(name)
    for name in (name for name in names if stacks[name].device.model == "none"):
        alike = (one for one in chunks if stacks[one[0]].guests == stacks[name].guests)
        chunk = next(alike, [])
        if not chunk:
            chunks.append(chunk)
        chunk.append(name)
    return {f"guest-{n}": chunk for n, chunk in enumerate(chunks, start=1)}


def _slots(names: Sequence[str], stacks: Stacks) -> int:
    return sum(stacks[name].devices for name in names)


def environments(
    experiment: Experiment,
    groups: Mapping[str, Sequence[str]],
    capabilities: Capabilities | None = None,
) -> dict[str, dict[str, Any]]:
    """The environments of ``groups`` (as ``group`` made them) as the plan holds them.

    ``capabilities`` tell which real devices the host has.
    """
    made = {}
    guest = _alike(experiment, [name for names in groups.values() for name in names])
    for environment, names in groups.items():
        stacks = {name: experiment.stacks[name] for name in names}
        if all(stack.runs_on == "host" for stack in stacks.values()):
            made[environment] = _host(stacks, guest, capabilities)
        else:
            made[environment] = _guest(environment, stacks, guest, capabilities)
    return made


def _alike(experiment: Experiment, names: Sequence[str]) -> Guest:
    """The guest as all stacks have it, for they are compared.

    SPDK's vhost is made for memory in hugepages: of other memory it warns that it cannot register
    it, and v25.05 served a guest with it in one of four tries.
    """
    guest = experiment.guest
    needed = any(experiment.stacks[name].server == "spdk-vhost" for name in names)
    return guest.model_copy(update={"hugepages": guest.hugepages or needed})


def _guest(
    environment: str, stacks: Stacks, guest: Guest, capabilities: Capabilities | None
) -> dict[str, Any]:
    """One guest, or several alike: the first under ``guest``, the others under ``peers``."""
    guests = max(stack.guests for stack in stacks.values())
    first, *peers = (
        _one_guest(name, stacks, guest, number, guests)
        for number, name in enumerate(sizes.guest_names(environment, guests))
    )
    others = {"peers": peers} if peers else {}
    targets = _targets(stacks, guest, capabilities)
    return {"targets": targets, "guest": first, **others, "host_files": []}


def _one_guest(name: str, stacks: Stacks, guest: Guest, number: int, guests: int) -> dict[str, Any]:
    """The guest ``number`` (from 0) of so many."""
    named = [
        (device, stack)
        for stack_name, stack in stacks.items()
        for device in sizes.device_names(stack_name, stack, number)
    ]
    return {
        "name": name,
        "vcpus": guest.vcpus,
        "memory_mib": guest.memory_mib,
        **({"hugepages": True} if guest.hugepages else {}),
        "cpus": sizes.guest_cpus(guest, number, guests),
        "iothread_cpus": guest.iothread_cpus,
        **user_space.guest_keys(guest, stacks.values()),
        "devices": [
            _device(device, stack, slot)
            for slot, (device, stack) in zip(SLOTS, named, strict=False)
        ],
    }


def _device(name: str, stack: Stack, slot: int) -> dict[str, Any]:
    served = stack.server != "qemu"
    return {
        "name": name,
        "slot": slot,
        "model": stack.device.model,
        "properties": dict(stack.device.properties),
        "iothreads": stack.device.iothreads,
        **user_space.device_keys(stack),
        "backend": None if served else real_devices.backends(stack, None)[0],
        "export": name if served else None,
    }


def _targets(
    stacks: Stacks, guest: Guest, capabilities: Capabilities | None
) -> list[dict[str, Any]]:
    """The storage targets, each named after the first stack that it serves.

    SPDK polls a core however little it serves, so stacks share one process for each kind and
    set of CPUs; qemu-storage-daemon sleeps when idle, so each stack has its own.
    """
    targets: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, stack in stacks.items():
        if stack.server not in _TARGET_NAMES:
            continue
        alone = (name,) if stack.server == "qemu-storage-daemon" else ()
        manner = _manner(stack)
        cores = {"cores": stack.server_cores} if stack.server_cores else {}
        key = (stack.server, stack.server_cpus or "", *manner, *alone)
        target = targets.setdefault(
            key,
            {
                "name": f"{_TARGET_NAMES[stack.server]}-{name}",
                "kind": stack.server,
                "cpus": stack.server_cpus,
                **cores,
                **manner,
                "exports": [],
            },
        )
        names = [name] if is_vm_less(stack) else sizes.all_device_names(name, stack)
        backends = real_devices.backends(stack, capabilities)
        for device, backend in zip(names, backends, strict=True):
            target["exports"].append(_export(device, stack, guest, backend))
    return list(targets.values())


def _manner(stack: Stack) -> dict[str, bool]:
    """How the target works, where that is not as usual."""
    memory = {} if stack.server_hugepages else {"hugepages": False}
    return {**memory, **({"interrupt_mode": True} if stack.server_interrupt_mode else {})}


def _export(name: str, stack: Stack, guest: Guest, backend: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "transport": stack.transport,
        "backend": backend,
        # QEMU's own default for the guest's side is a queue for each vCPU.
        "num_queues": int(stack.device.properties.get("num-queues", guest.vcpus)),
    }


def _host(stacks: Stacks, guest: Guest, capabilities: Capabilities | None) -> dict[str, Any]:
    files = [
        {"name": name, "backend": real_devices.backends(stack, capabilities)[0]}
        for name, stack in stacks.items()
        if stack.backend.kind != "none" and stack.server == "none"
    ]
    # A guest's target, stopped meanwhile, may hold the lock of the same cores.
    targets = [{**target, "shares_cores": True} for target in _targets(stacks, guest, capabilities)]
    return {"targets": targets, "guest": None, "host_files": files}
