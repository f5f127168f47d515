# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's real NVMe devices a stack gets: those that its inventory names, in its order.

All stacks get the same ones, so that they compare; one stack has them at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvmelab.experiment.rules import REAL_DEVICE
from nvmelab.plan import sizes

if TYPE_CHECKING:
    from nvmelab.experiment.model import Stack
    from nvmelab.plan.host_capabilities import Capabilities, NvmeDevice

_NONE_NAMED = "no NVMe device is named in nvmelab_nvme_devices of the host's inventory"


def is_on_one(stack: Stack) -> bool:
    """Whether a real device holds the stack's data."""
    return stack.backend.kind == REAL_DEVICE


def reason(stack: Stack, capabilities: Capabilities) -> str | None:
    """Why the host has no real devices for ``stack``, or None when it has."""
    if not is_on_one(stack) or len(_usable(stack, capabilities)) >= sizes.count(stack):
        return None
    if not capabilities.nvme_devices:
        return _NONE_NAMED
    causes = [cause for one in capabilities.nvme_devices if (cause := _cause(stack, one))]
    wanted, found = sizes.count(stack), len(_usable(stack, capabilities))
    short = f"needs {wanted} NVMe devices, {found} of nvmelab_nvme_devices can be had"
    return "; ".join([*([short] if wanted > 1 else []), *causes])


def backends(stack: Stack, capabilities: Capabilities | None) -> list[dict[str, Any]]:
    """The backend of each of the stack's devices, as the plan holds it.

    ``bdf`` is null where nothing is known of the host: such a plan is only looked at.
    """
    count = sizes.count(stack)
    if not is_on_one(stack):
        return [{"kind": stack.backend.kind, "size_mib": stack.backend.size_mib}] * count
    found: list[NvmeDevice | None] = [*_usable(stack, capabilities)] if capabilities else []
    common = {"kind": REAL_DEVICE, "size_mib": None}
    return [
        {**common, "bdf": one.address if one else None, "nsid": _nsid(stack, one)}
        for one in [*found, *([None] * count)][:count]
    ]


def _usable(stack: Stack, capabilities: Capabilities) -> list[NvmeDevice]:
    return [one for one in capabilities.nvme_devices if not _cause(stack, one)]


def _cause(stack: Stack, device: NvmeDevice) -> str | None:
    if device.refusal or device.namespaces is None:  # a program's driver tells of none
        return device.refusal
    there = [one.nsid for one in device.namespaces]
    if not there:
        return f"{device.address} has no namespace"
    if stack.backend.nsid not in (None, *there):
        found = ", ".join(map(str, there))
        return f"{device.address} has no namespace {stack.backend.nsid}, only {found}"
    return None


def _nsid(stack: Stack, device: NvmeDevice | None) -> int:
    known = [one.nsid for one in device.namespaces or ()] if device else []
    return stack.backend.nsid or min(known, default=1)
