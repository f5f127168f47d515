# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU arguments of the devices under test; pure.

A device sits in the PCI slot that the plan gave it, so that a guest finds it by address and never
by a name that depends on the order of probing. What the user wrote as properties is passed on as
written; what is added here never overrides it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.serial_number import serial_number

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

# Slots 0 and 31 of bus 0 belong to q35, 1 to 4 to what every guest has (see qemu_command).
FIRST_SLOT, LAST_SLOT = 0x05, 0x1E

# In this order a guest's devices get theirs: where they always were, then the rest of bus 0.
SLOTS = (*range(0x10, LAST_SLOT + 1), *range(FIRST_SLOT, 0x10))

# Model of an experiment -> QEMU's device, and the one that holds the drive when it is another.
QEMU_DEVICES = {
    "nvme": "nvme",
    "virtio-blk": "virtio-blk-pci",
    "virtio-scsi": "virtio-scsi-pci",
    "vhost-user-blk": "vhost-user-blk-pci",
    "vfio-user-pci": "vfio-user-pci",
}
# Models whose data is served by another process over a socket.
SOCKET_MODELS = ("vhost-user-blk", "vfio-user-pci")
# A full disk must be an error that fio sees. QEMU's default pauses the guest without a word.
_REPORT_ERRORS = {"werror": "report", "rerror": "report"}
# Properties of QEMU's type OnOffAuto: JSON wants them as text where a bool wants true or false.
_ON_OFF_AUTO = (
    "account-failed",
    "account-invalid",
    "backend_defaults",
    "disable-legacy",
    "write-cache",
)

Properties = Mapping[str, Any]


def device_arguments(
    device: Mapping[str, Any],
    qemu: Mapping[str, Any],
    *,
    backend: Optional[Backend],
    socket: Optional[str],
) -> list[str]:
    """Return the arguments of one device of the plan: objects, block node, device.

    Args:
        device: the plan's entry (name, slot, model, properties, iothreads).
        qemu: the capabilities of the QEMU that will run it.
        backend: what QEMU itself serves the device from; None when a target serves it.
        socket: the target's socket; None when QEMU serves it.

    Raises:
        BadInputError: unknown model, model or property that this QEMU lacks, bad slot, or
            neither or both of backend and socket.
    """
    _check(device, qemu, backend, socket)
    threads = [f"{qemu_id(device)}-io{number}" for number in range(device.get("iothreads") or 0)]
    arguments = [word for io in threads for word in ("-object", f"iothread,id={io}")]
    if backend is not None:
        arguments += ["-blockdev", backend.blockdev(node_name(device))]
    return arguments + _BUILDERS[device["model"]](device, qemu, threads, socket)


def node_name(device: Mapping[str, Any]) -> str:
    """Return the block node of a device: ``node-<name>``, cut to the 31 bytes that QEMU takes.

    The slot keeps a name that is cut unique.
    """
    name = f"node-{device['name']}"
    return name if len(name) <= 31 else f"{name[:28]}-{device['slot']:02x}"  # noqa: PLR2004


def qemu_id(device: Mapping[str, Any]) -> str:
    """Return the id of a device in QEMU: its name, with a letter before it if it has none."""
    name = str(device["name"])
    return name if name[:1].isalpha() else f"d{name}"


def _check(
    device: Mapping[str, Any],
    qemu: Mapping[str, Any],
    backend: Optional[Backend],
    socket: Optional[str],
) -> None:
    name, model, slot = device["name"], device["model"], device["slot"]
    if model not in QEMU_DEVICES:
        raise BadInputError(
            f"device {name}: model {model!r}: wanted one of {', '.join(QEMU_DEVICES)}"
        )
    if QEMU_DEVICES[model] not in qemu["devices"]:
        raise BadInputError(
            f"device {name}: QEMU {qemu['version']} ({qemu['path']}) has no device "
            f"{QEMU_DEVICES[model]}"
        )
    if not FIRST_SLOT <= slot <= LAST_SLOT:
        raise BadInputError(
            f"device {name}: PCI slot {slot}: wanted {FIRST_SLOT} to {LAST_SLOT} (a guest takes "
            "no more devices: use layout guest-per-stack)"
        )
    served_by_target = model in SOCKET_MODELS
    if served_by_target != (socket is not None) or served_by_target == (backend is not None):
        raise BadInputError(
            f"device {name}: {model} is served by "
            f"{'a storage target: its socket is wanted' if served_by_target else 'QEMU itself'}, "
            f"found backend {backend and backend.kind!r} and socket {socket!r}"
        )


def _nvme(
    device: Mapping[str, Any], qemu: Mapping[str, Any], threads: Sequence[str], _: Optional[str]
) -> list[str]:
    ours = {"drive": node_name(device), "serial": serial_number(device["name"])}
    if threads:
        ours["iothread"] = threads[0]  # refused below, as long as QEMU's nvme has none
    return _device(device, qemu, ours)


def _virtio_blk(
    device: Mapping[str, Any], qemu: Mapping[str, Any], threads: Sequence[str], _: Optional[str]
) -> list[str]:
    ours = {"drive": node_name(device), **_REPORT_ERRORS}
    return _device(device, qemu, ours, threads=threads)


def _virtio_scsi(
    device: Mapping[str, Any], qemu: Mapping[str, Any], threads: Sequence[str], _: Optional[str]
) -> list[str]:
    disk = {"driver": "scsi-hd", "drive": node_name(device), "bus": f"{qemu_id(device)}.0"}
    return [
        *_device(device, qemu, {}, threads=threads),
        "-device",
        _key_values({**disk, **_REPORT_ERRORS}),
    ]


def _vhost_user_blk(
    device: Mapping[str, Any],
    qemu: Mapping[str, Any],
    threads: Sequence[str],
    socket: Optional[str],
) -> list[str]:
    _refuse_threads(device, threads)
    chardev = f"{qemu_id(device)}-chr"
    path = (socket or "").replace(",", ",,")
    return [
        "-chardev",
        f"socket,id={chardev},path={path}",
        *_device(device, qemu, {"chardev": chardev}),
    ]


def _vfio_user(
    device: Mapping[str, Any],
    qemu: Mapping[str, Any],
    threads: Sequence[str],
    socket: Optional[str],
) -> list[str]:
    _refuse_threads(device, threads)
    return _device(device, qemu, {"socket": {"type": "unix", "path": socket}})


_BUILDERS = {
    "nvme": _nvme,
    "virtio-blk": _virtio_blk,
    "virtio-scsi": _virtio_scsi,
    "vhost-user-blk": _vhost_user_blk,
    "vfio-user-pci": _vfio_user,
}


def _refuse_threads(device: Mapping[str, Any], threads: Sequence[str]) -> None:
    if threads:
        raise BadInputError(
            f"device {device['name']}: iothreads {len(threads)}: the target serves "
            f"{device['model']}, QEMU has no thread in its data path; wanted 0"
        )


def _device(
    device: Mapping[str, Any],
    qemu: Mapping[str, Any],
    ours: Properties,
    *,
    threads: Sequence[str] = (),
) -> list[str]:
    """Return ``-device`` and its value, in JSON when a property is more than a text."""
    driver = QEMU_DEVICES[device["model"]]
    mapped: dict[str, Any] = {}
    if len(threads) == 1:
        mapped["iothread"] = threads[0]
    elif threads:
        mapped["iothread-vq-mapping"] = [{"iothread": thread} for thread in threads]
    properties = {**ours, **mapped, **device.get("properties", {})}
    _require_properties(device, qemu, driver, properties)
    head = {"driver": driver, "id": qemu_id(device), "bus": "pcie.0"}
    address = {"addr": f"0x{device['slot']:02x}"}
    whole = {**head, **address, **properties}
    if any(isinstance(value, (dict, list)) for value in properties.values()):
        return ["-device", json.dumps({k: _json_value(k, v) for k, v in whole.items()})]
    return ["-device", _key_values(whole)]


def _require_properties(
    device: Mapping[str, Any], qemu: Mapping[str, Any], driver: str, properties: Properties
) -> None:
    known = qemu["devices"][driver]
    for name in properties:
        if known and name not in known:
            raise BadInputError(
                f"device {device['name']}: QEMU {qemu['version']} ({qemu['path']}) has no "
                f"property {name} on {driver}"
            )


def _key_values(properties: Properties) -> str:
    words = dict(properties)
    driver = words.pop("driver")
    return ",".join([driver, *(f"{key}={_text(value)}" for key, value in words.items())])


def _text(value: Any) -> str:
    """Return a property as QEMU's command line reads it: bools as on/off, commas doubled."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).replace(",", ",,")


def _json_value(name: str, value: Any) -> Any:
    """Return a property as QEMU's JSON reads it: real bools and numbers, no texts for them."""
    if name in {"driver", "id", "bus", "addr", *_ON_OFF_AUTO} or not isinstance(value, str):
        return value
    words: dict[str, Union[bool, int]] = {"on": True, "off": False}
    return words.get(value, int(value) if value.isdecimal() else value)
