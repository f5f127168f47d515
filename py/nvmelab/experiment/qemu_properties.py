# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of QEMU's devices: QEMU's names of our models, what some QEMU is known to have."""

from __future__ import annotations

import functools
import json
from importlib import resources

from nvmelab.experiment.suggest import did_you_mean, nearest

# Our model → QEMU's devices; the first one takes the properties.
QEMU_DEVICES: dict[str, tuple[str, ...]] = {
    "nvme": ("nvme",),
    "virtio-blk": ("virtio-blk-pci",),
    "virtio-scsi": ("virtio-scsi-pci", "scsi-hd"),
    "vhost-user-blk": ("vhost-user-blk-pci",),
    "vfio-user-pci": ("vfio-user-pci",),
    "none": (),
}

# What ties a device into the guest is the lab's own work.
_RESERVED = {
    "addr": "the lab chooses the PCI slot",
    "bus": "the lab chooses the PCI slot",
    "chardev": "the lab connects the storage target",
    "drive": "the lab makes it from backend",
    "id": "the stack's name is the id",
    "iothread": "use device.iothreads: 1",
    "iothread-vq-mapping": "use device.iothreads: 2 or more",
    "serial": "the stack's name is the serial",
    "socket": "the lab connects the storage target",
}
# A property of a QEMU newer than the list must still pass, so only near misses are slips; two
# letters exchanged in a word of four make 0.75.
_TYPO_CUTOFF = 0.8
_TYPO_CUTOFF_SHORT = 0.75
_SHORT = 6


@functools.cache
def known(model: str) -> frozenset[str]:
    """Properties that some QEMU is known to have on the device of ``model``."""
    text = (
        resources.files("nvmelab.experiment")
        .joinpath("qemu_properties.json")
        .read_text(encoding="utf-8")
    )
    devices = QEMU_DEVICES[model][:1]
    return frozenset(name for device in devices for name in json.loads(text)["devices"][device])


def fault(model: str, name: str, *, present: frozenset[str] = frozenset()) -> str | None:
    """What is wrong with the property ``name`` for a person who wrote it, or None.

    ``present`` are the properties of the QEMU at hand. A name that no list holds is taken for a
    slip when a name very like it exists; otherwise for a property of a QEMU that we do not know.
    """
    if name in _RESERVED:
        return f"property {name!r} is set by nvmelab: {_RESERVED[name]}"
    names = known(model) | present
    cutoff = _TYPO_CUTOFF_SHORT if len(name) <= _SHORT else _TYPO_CUTOFF
    if name in names or not nearest(name, names, cutoff=cutoff):
        return None
    return f"unknown property {name!r} of device {model}{did_you_mean(name, names)}"
