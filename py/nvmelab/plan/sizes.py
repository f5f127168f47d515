# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the devices and guests of a stack that has several, and what each point drives.

A stack with one device in one guest has its own name for it. The others get an underscore and a
number, which no stack's name holds: names stay unique whatever stacks there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)

if TYPE_CHECKING:
    from nvmelab.experiment.model import Guest, Stack


def guest_names(environment: str, count: int) -> list[str]:
    """The guests of an environment: ``guest-1``, or ``guest-1_1`` and ``guest-1_2`` of two."""
    return [f"{environment}_{n}" for n in range(1, count + 1)] if count > 1 else [environment]


def device_names(name: str, stack: Stack, guest_number: int) -> list[str]:
    """The stack's devices in guest ``guest_number`` (from 0), none where its model is none.

    ``spdk``; ``spdk_1`` to ``spdk_4`` of four; ``spdk_g2_1`` to ``spdk_g2_4`` in the second guest.
    """
    if stack.device.model == "none":
        return []
    own = f"{name}_g{guest_number + 1}" if guest_number else name
    if stack.devices == 1:
        return [own]
    return [f"{own}_{number}" for number in range(1, stack.devices + 1)]


def all_device_names(name: str, stack: Stack) -> list[str]:
    """The stack's devices in all its guests."""
    return [device for n in range(stack.guests) for device in device_names(name, stack, n)]


def first_device(name: str, stack: Stack) -> str | None:
    """What a point names as its device: the first one, or the file on the host."""
    if stack.backend.kind == "none":
        return None
    return device_names(name, stack, 0)[0] if stack.device.model != "none" else name


def count(stack: Stack) -> int:
    """How many devices the stack has in all its guests."""
    return stack.devices * stack.guests


def parts(environment: str, name: str, stack: Stack) -> dict[str, Any]:
    """The key ``parts`` of a point: each guest with the devices that its fio drives.

    Nothing for one device in one guest: such a point is as it ever was.
    """
    if count(stack) == 1:
        return {}
    guests = guest_names(environment, stack.guests)
    return {
        "parts": [
            {"guest": guest, "devices": device_names(name, stack, number)}
            for number, guest in enumerate(guests)
        ]
    }


def guest_cpus(guest: Guest, number: int, guests: int) -> str | None:
    """The host CPUs of guest ``number`` (from 0) of so many: its share of the file's list."""
    if not guest.cpus or guests == 1:
        return guest.cpus
    listed = parse_cpu_list(guest.cpus)
    return format_cpu_list(listed[number * guest.vcpus : (number + 1) * guest.vcpus])
