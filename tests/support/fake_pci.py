# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine's NVMe devices in a folder: sysfs as files and links, and what a write to them does."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.pci import binding, device, vfio

FIRST, SECOND, NETWORK = "0000:00:10.0", "0000:00:11.0", "0000:00:03.0"
NVME, ETHERNET = "0x010802", "0x020000"


@dataclass
class FakePci:
    """Behaves as drivers/pci and drivers/base do: override, unbind, probe; ``install`` it.

    ``fail_at`` is the number of the write (from 0) that the kernel refuses, ``refuses`` are drivers
    whose probe fails, ``loadable`` those that modprobe finds. ``partitions``: whether
    each disk has one.
    """

    root: Path
    loadable: set[str] = field(default_factory=lambda: {"nvme", "uio_pci_generic", "vfio-pci"})
    refuses: set[str] = field(default_factory=set)
    fail_at: set[int] = field(default_factory=set)
    partitions: bool = True
    writes: list[tuple[str, str]] = field(default_factory=list)
    modprobes: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.put("proc/sys/kernel/random/boot_id", "boot-1")
        self.put("proc/self/mountinfo", "22 1 254:1 / / rw - ext4 /dev/vda1 rw")
        self.put("proc/swaps", "Filename Type Size Used Priority")
        self.put("sys/bus/pci/drivers_probe", "")
        self.driver("nvme")
        self.device(FIRST, "nvme0")
        self.device(SECOND, "nvme1")
        self.device(NETWORK, None, pci_class=ETHERNET)

    def put(self, name: str, text: str) -> None:
        """Put a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def place(self, address: str) -> Path:
        """Return a device's folder."""
        return self.root / "sys/bus/pci/devices" / address

    def driver(self, name: str) -> Path:
        """Have a driver loaded."""
        folder = self.root / "sys/bus/pci/drivers" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def device(self, address: str, name: str | None, pci_class: str = NVME) -> None:
        """Have a device; with a name the kernel's driver has it, and one namespace of 16 MiB."""
        base = f"sys/bus/pci/devices/{address}"
        self.put(f"{base}/class", pci_class)
        self.put(f"{base}/driver_override", "(null)")
        self.put(f"{base}/numa_node", "-1")
        (self.root / base / "config").write_bytes(bytes([0x36, 0x1B, 0, 0, 7, 0]) + bytes(58))
        if name:
            self.put(f"{base}/.name", name)
            self._bind(address, "nvme")

    def group(self, number: str, *addresses: str) -> None:
        """Put devices into one IOMMU group."""
        folder = self.root / "sys/kernel/iommu_groups" / number / "devices"
        folder.mkdir(parents=True)
        for address in addresses:
            (folder / address).symlink_to(self.place(address))
            (self.place(address) / "iommu_group").symlink_to(folder.parent)

    def process(self, pid: int, comm: str, opened: str) -> None:
        """Have a process with one file open."""
        self.put(f"proc/{pid}/comm", comm)
        (self.root / f"proc/{pid}/fd").mkdir(parents=True)
        (self.root / f"proc/{pid}/fd/3").symlink_to(opened)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakePci:
        """Take the kernel's place."""
        for module in (binding, vfio):
            monkeypatch.setattr(module, "sysfs_write", self.written)
        monkeypatch.setattr(binding, "_modprobe", self.modprobe)
        return self

    def modprobe(self, name: str, *options: str) -> None:
        """What replaces the program."""
        self.modprobes.append([*options, name])
        if name not in self.loadable:
            raise device.PciError(f"driver {name}: the kernel cannot load its module: not found")
        if not options:
            self.driver(name)

    def written(self, path: Path, text: str) -> None:
        """What replaces sysfs_write."""
        self.writes.append((str(path.relative_to(self.root)), text))
        if len(self.writes) - 1 in self.fail_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        if path.name == "driver_override":
            path.write_text(f"{text.strip() or '(null)'}\n")
        elif path.name == "unbind":
            self._unbind(text)
        elif path.name == "drivers_probe":
            self._probe(text)
        else:
            path.write_text(f"{text}\n")

    def _probe(self, address: str) -> None:
        override = (self.place(address) / "driver_override").read_text().strip()
        name = "nvme" if override == "(null)" else override
        has = (self.place(address) / "driver").exists()
        is_loaded = (self.root / "sys/bus/pci/drivers" / name).exists()
        if is_loaded and not has and name not in self.refuses:
            self._bind(address, name)

    def _bind(self, address: str, driver: str) -> None:
        place = self.place(address)
        (place / "driver").symlink_to(self.driver(driver))
        if driver == "nvme":
            name = (place / ".name").read_text().strip()
            disk = place / "nvme" / name / f"{name}n1"
            disk.mkdir(parents=True)
            number = name.removeprefix("nvme")
            about = {"nsid": "1", "size": "32768", "queue/logical_block_size": "4096"}
            for key, text in about.items():
                self.put(f"sys/class/block/{disk.name}/{key}", text)
            parts = [(disk.name, number), *([(f"{disk.name}p1", f"{number}1")] * self.partitions)]
            for part, minor in parts:
                self.put(f"sys/class/block/{part}/dev", f"259:{minor}")
                (self.root / f"sys/class/block/{part}/holders").mkdir(exist_ok=True)
            for part, _ in parts[1:]:
                (self.root / f"sys/class/block/{disk.name}/{part}").mkdir(exist_ok=True)

    def _unbind(self, address: str) -> None:
        place = self.place(address)
        if (place / "driver").resolve().name == "nvme":
            for path in sorted(place.glob("nvme/**/*"), reverse=True):
                path.rmdir()
            config = bytearray((place / "config").read_bytes())
            config[4] &= ~4  # the kernel's driver takes the bus away when it leaves
            (place / "config").write_bytes(bytes(config))
        (place / "driver").unlink()

    def picture(self) -> dict[str, str]:
        """Return what each device has."""
        return {a: str(device.binding_of(self.place(a))) for a in (FIRST, SECOND)}
