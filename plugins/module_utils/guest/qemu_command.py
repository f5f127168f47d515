# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU command of a guest, from its specification; pure.

What a guest needs beside the devices under test is the same in every guest and sits in fixed PCI
slots below them, so adding or leaving out a device moves no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import (
    device_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

ROOT_SLOT, NETWORK_SLOT, PANIC_SLOT = 0x02, 0x03, 0x04

_ACCELERATORS = {
    # Plain `max` warns about features. la57 doubles the depth of emulated page walks. With erms
    # and fsrm the kernel copies and clears by `rep movsb`, which is emulated byte for byte: 0.3 s
    # of a boot.
    "tcg": ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off,erms=off,fsrm=off"],
    "kvm": ["-accel", "kvm", "-cpu", "host"],
}


@dataclass(frozen=True)
class GuestFiles:
    """The paths of one guest, all on the lab host."""

    disk: str  # raw; never written to (snapshot=on)
    serial_log: str
    qmp_socket: str
    kernel: Optional[str] = None  # None: the firmware boots from the disk
    initrd: Optional[str] = None
    kernel_cmdline: str = ""
    backends: Mapping[str, Backend] = field(default_factory=dict)  # by device name
    sockets: Mapping[str, str] = field(default_factory=dict)  # by export name


def qemu_argv(
    spec: Mapping[str, Any],
    *,
    qemu: Mapping[str, Any],
    accelerator: str,
    files: GuestFiles,
    ssh_port: int,
) -> list[str]:
    """Return QEMU's whole argument list for a plan's guest.

    Args:
        spec: the plan's guest: name, vcpus, memory_mib, devices, and perhaps kernel_args and
            iommu.
        qemu: capabilities of the QEMU to run.
        accelerator: ``tcg`` or ``kvm``.
        files: images, logs, sockets, backends.
        ssh_port: port on 127.0.0.1 that leads to the guest's port 22.

    Raises:
        BadInputError: an unknown accelerator, two devices in one slot or of one name, or a
            device that this QEMU cannot have.
    """
    if accelerator not in _ACCELERATORS:
        raise BadInputError(f"accelerator {accelerator!r}: wanted one of tcg, kvm")
    _require_distinct(spec)
    return [
        qemu["path"],
        *_machine(spec, accelerator),
        *_firmware(spec, qemu, files),
        *_consoles(files),
        *_root_disk(files),
        *_network(ssh_port),
        *_panic(qemu),
        *_iommu(spec),
        *_devices(spec, qemu, files),
        *_kernel(spec, files),
    ]


def _iommu(spec: Mapping[str, Any]) -> list[str]:
    """Return the guest's IOMMU; what it maps has to be told to who serves a device from outside."""
    if not spec.get("iommu"):
        return []
    is_served = any(device["model"] == "vfio-user-pci" for device in spec["devices"])
    return ["-device", "intel-iommu,caching-mode=on" if is_served else "intel-iommu"]


def _require_distinct(spec: Mapping[str, Any]) -> None:
    for key in ("slot", "name"):
        seen = set()
        for device in spec["devices"]:
            if device[key] in seen:
                raise BadInputError(f"guest {spec['name']}: two devices with {key} {device[key]}")
            seen.add(device[key])


def _machine(spec: Mapping[str, Any], accelerator: str) -> list[str]:
    """Return machine, CPU and memory.

    The memory is always shared: vhost-user and vfio-user need it and only hang without it, and
    a guest must not differ between the stacks that are compared.
    """
    memory = spec["memory_mib"]
    arguments = ["-name", f"guest={spec['name']},debug-threads=on"]
    arguments += ["-machine", "q35,memory-backend=mem0", *_ACCELERATORS[accelerator]]
    arguments += ["-smp", str(spec["vcpus"]), "-m", f"{memory}M"]
    huge = ",hugetlb=on,hugetlbsize=2M,prealloc=on" if spec.get("hugepages") else ""
    arguments += ["-object", f"memory-backend-memfd,id=mem0,size={memory}M,share=on{huge}"]
    arguments += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    return arguments


def _firmware(spec: Mapping[str, Any], qemu: Mapping[str, Any], files: GuestFiles) -> list[str]:
    """Return qboot where SeaBIOS would first drive a vfio-user controller itself: 10 s.

    It can only load a kernel that is given to it.
    """
    vfio_user = any(device["model"] == "vfio-user-pci" for device in spec["devices"])
    return ["-bios", qemu["qboot"]] if vfio_user and files.kernel and qemu.get("qboot") else []


def _kernel(spec: Mapping[str, Any], files: GuestFiles) -> list[str]:
    arguments = spec.get("kernel_args") or []
    if files.kernel is None:
        if arguments:
            raise BadInputError(
                f"guest {spec['name']}: kernel arguments {' '.join(arguments)}: its image boots by "
                "itself, without any of ours; use an image built from the archive"
            )
        return []
    initrd = ["-initrd", files.initrd] if files.initrd else []
    text = " ".join([files.kernel_cmdline, *arguments])
    return ["-kernel", files.kernel, *initrd, "-append", text]


def _consoles(files: GuestFiles) -> list[str]:
    return [
        "-serial",
        f"file:{files.serial_log}",
        "-qmp",
        f"unix:{_escaped(files.qmp_socket)},server=on,wait=off",
    ]


def _root_disk(files: GuestFiles) -> list[str]:
    """Return the root disk: on nvme, whose driver is built into the kernel.

    A bootindex together with -kernel is refused, for it already has index 0.
    """
    drive = (
        f"if=none,id=root,file={_escaped(files.disk)},format=raw,cache=unsafe,snapshot=on,"
        "werror=report,rerror=report"
    )
    boot = "" if files.kernel else ",bootindex=1"
    device = f"nvme,drive=root,serial=root,addr=0x{ROOT_SLOT:02x}{boot}"
    return ["-drive", drive, "-device", device]


def _network(ssh_port: int) -> list[str]:
    """Return a network that reaches nothing (restrict) and is reached on one loopback port."""
    forward = f"hostfwd=tcp:127.0.0.1:{ssh_port}-:22"
    card = f"virtio-net-pci,netdev=net0,romfile=,addr=0x{NETWORK_SLOT:02x}"
    return ["-netdev", f"user,id=net0,restrict=on,{forward}", "-device", card]


def _panic(qemu: Mapping[str, Any]) -> list[str]:
    """Return what makes a guest's panic an exit status of QEMU, as far as this QEMU can."""
    arguments = []
    if "pvpanic-pci" in qemu["devices"]:
        arguments += ["-device", f"pvpanic-pci,addr=0x{PANIC_SLOT:02x}"]
    if "exit-failure" in qemu.get("panic_actions", []):
        arguments += ["-action", "panic=exit-failure"]
    return arguments


def _devices(spec: Mapping[str, Any], qemu: Mapping[str, Any], files: GuestFiles) -> list[str]:
    arguments: list[str] = []
    for device in spec["devices"]:
        arguments += device_arguments(
            device,
            qemu,
            backend=files.backends.get(device["name"]),
            socket=files.sockets.get(device.get("export") or ""),
        )
    return arguments


def _escaped(path: str) -> str:
    return path.replace(",", ",,")
