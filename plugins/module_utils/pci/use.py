# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses an NVMe device: a mount, swap, dm or md, another file system, a process.

Taking the driver away from under any of these loses data or hangs the machine.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    binding_of,
    block_devices,
    iommu_group,
    text_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import KERNELS_OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

# They look at each disk that comes, read its first blocks and close it: no use that loses anything.
_PASSING = ("systemd-udevd", "(udev-worker)", "udevd")


def find_use(place: Path, system: Path) -> Optional[str]:
    """Return what a device, or a part of it, is used for; None for nothing."""
    return next(_uses(place, system), None)


def _uses(place: Path, system: Path) -> Iterator[str]:
    parts = [part for disk in block_devices(place) for part in _parts(disk, system)]
    yield from _mounts(parts, system)
    yield from _swaps(parts, system)
    for part in parts:
        yield from _holders(part, system)
    for disk in block_devices(place):
        yield from _claim(disk, system)
    yield from _processes(place, parts, system)


def _parts(disk: str, system: Path) -> list[str]:
    """Return a disk's name and those of its partitions."""
    folder = system / "sys/class/block" / disk
    return [disk, *sorted(path.name for path in folder.glob(f"{disk}p*"))]


def _mounts(parts: list[str], system: Path) -> Iterator[str]:
    """Both by number and by source: btrfs has a number of its own."""
    numbers = {text_of(system / f"sys/class/block/{part}/dev"): part for part in parts}
    text = text_of(system / "proc/self/mountinfo") or ""
    for line in text.splitlines():
        words = line.split()
        source = words[words.index("-") + 2].rpartition("/")[2]
        part = numbers.get(words[2]) or (source if source in parts else None)
        if part:
            what = "holds the root file system" if words[4] == "/" else f"is mounted on {words[4]}"
            yield f"/dev/{part} {what}"


def _swaps(parts: list[str], system: Path) -> Iterator[str]:
    text = text_of(system / "proc/swaps") or ""
    for line in text.splitlines()[1:]:
        name = Path(line.split()[0]).name
        if name in parts:
            yield f"/dev/{name} is used as swap"


def _holders(part: str, system: Path) -> Iterator[str]:
    """Devices on top (dm, md, bcache), and members of a file system of several devices."""
    for holder in sorted((system / f"sys/class/block/{part}/holders").glob("*")):
        dm_name = text_of(holder / "dm/name")
        name = f"{holder.name} ({dm_name})" if dm_name else holder.name
        yield f"/dev/{part} is held by {name}"
    for member in (system / "sys/fs/btrfs").glob(f"*/devices/{part}"):
        yield f"/dev/{part} belongs to the btrfs {member.parent.parent.name}"
    for backing in (system / "sys/class/block").glob("loop*/loop/backing_file"):
        if text_of(backing) == f"/dev/{part}":
            yield f"/dev/{part} is behind {backing.parent.parent.name}"


def _claim(disk: str, system: Path) -> Iterator[str]:
    """Ask the kernel: whoever mounts or stacks claims a disk, in other namespaces too."""
    if system != Path("/"):
        return
    try:
        os.close(os.open(f"/dev/{disk}", os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.EBUSY:
            yield f"/dev/{disk} is claimed by a file system or volume manager (open: EBUSY)"


def _processes(place: Path, parts: list[str], system: Path) -> Iterator[str]:
    """Processes that have the device open: as a disk, a character device, or its registers."""
    names = {f"/dev/{part}" for part in parts}
    names |= {f"/dev/ng{part[len('nvme') :]}" for part in parts}
    names |= {f"/dev/{path.name}" for path in (*place.glob("nvme/nvme*"), *place.glob("uio/uio*"))}
    names |= {f"/dev/vfio/devices/{path.name}" for path in place.glob("vfio-dev/*")}
    group = iommu_group(place)
    names |= {f"/dev/vfio/{group}", f"/dev/vfio/noiommu-{group}"} if group else set()
    folders = {str(place), str(place.resolve())}
    # A driver in user space may have closed what it has mapped.
    mapped = binding_of(place).driver not in (None, KERNELS_OWN)
    for process in sorted((system / "proc").glob("[0-9]*")):
        if text_of(process / "comm") in _PASSING:
            continue
        for opened in _opened(process, mapped=mapped):
            if opened in names or str(Path(opened).parent) in folders:
                name = text_of(process / "comm") or "a process"
                yield f"{opened} is open in {name} (pid {process.name})"


def _opened(process: Path, *, mapped: bool) -> Iterator[str]:
    """Return the paths that a process has open; none when it is gone or not ours to see."""
    try:
        for link in (process / "fd").iterdir():
            yield str(link.readlink()) if link.is_symlink() else ""
        if mapped:
            yield from re.findall(r" (/\S.*)$", text_of(process / "maps") or "", re.MULTILINE)
    except OSError:
        return
