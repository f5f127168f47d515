# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk of a lab host that boots by itself: Debian with GRUB for BIOS, built once.

No loop device is used. The boot loader is put there as grub-install would do it: its modules
below /boot, its first stage in the first sector, its core in the gap before the partition.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.image import debian_archive
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import (
    PARTITION_OFFSET,
    SECTOR_BYTES,
    make_disk,
    remove_tree,
    run_logged,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_image import bootstrap
from ansible_collections.nvmelab.bench.plugins.module_utils.image.guest_root import (
    CUSTOMISATION,
    KERNEL_CMDLINE,
    customise,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import LabKeys

SUITE = "bookworm"
SIZE_MIB = 1024
PACKAGES = (
    "dbus",
    "grub-common",
    "grub-pc-bin",
    "grub2-common",
    "iproute2",
    "kmod",
    "linux-image-cloud-amd64",
    "openssh-server",
    "python3",
    "systemd-sysv",
    "udev",
)
ROOT_DEVICE = "/dev/nvme0n1p1"
# What of the fast guest's arguments is not update-grub's to say. A panic must reboot nothing, and a
# lab host is run by systemd.
ARGUMENTS = " ".join(
    word
    for word in KERNEL_CMDLINE.split()
    if word.partition("=")[0] not in ("root", "rootwait", "quiet", "panic", "init")
)
# The machine has no screen, and update-grub's default is a graphical terminal.
GRUB_SETTINGS = f'GRUB_TERMINAL=console\nGRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX="{ARGUMENTS}"\n'
# Until the host's own update-grub has been run; the links are Debian's.
FIRST_GRUB_CFG = f"linux /vmlinuz root={ROOT_DEVICE} {ARGUMENTS}\nboot\n"
CORE = (
    "grub-mkimage --format=i386-pc --prefix='(hd0,msdos1)/boot/grub' --output=/core.img"
    " biosdisk part_msdos ext2 && cp -a /usr/lib/grub/i386-pc /boot/grub/"
)
DONE = replace(
    CUSTOMISATION,
    files={
        **CUSTOMISATION.files,
        "boot/grub/grub.cfg": FIRST_GRUB_CFG,
        "etc/default/grub.d/10-lab.cfg": GRUB_SETTINGS,
        "etc/hostname": "boots-itself\n",
        "etc/hosts": "127.0.0.1 localhost boots-itself\n",
    },
    # shutdown(8) with a time, which Ansible's reboot gives, asks logind, and that over D-Bus.
    masked_units=tuple(
        unit for unit in CUSTOMISATION.masked_units if unit != "systemd-logind.service"
    ),
    # update-grub runs these for nothing, and takes 12 s with them on an emulated CPU.
    removed=(
        *(name for name in CUSTOMISATION.removed if name != "vmlinuz"),
        *("etc/grub.d/20_linux_xen", "etc/grub.d/30_os-prober", "etc/grub.d/30_uefi-firmware"),
    ),
)


def digest(keys: LabKeys) -> str:
    """Twelve digits that tell disks of different content apart."""
    text = Path(__file__).read_text(encoding="utf-8")
    inputs = [text, DONE.as_dict(), keys.public_key.read_text(encoding="utf-8")]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def disk(cache: Path, keys: LabKeys) -> Path:
    """The disk below ``cache``, built when it is not there; older ones are removed."""
    place = cache / f"disk-{digest(keys)}.raw"
    if not place.exists():
        for old in cache.glob("disk-*.raw"):
            old.unlink()
        for left in cache.glob(".build-*"):
            remove_tree(left)
        _build(cache, place, keys)
    return place


def _build(cache: Path, place: Path, keys: LabKeys) -> None:
    work, log = Path(tempfile.mkdtemp(prefix=".build-", dir=cache)), cache / "image.log"
    root = work / "root"
    log.unlink(missing_ok=True)
    sources, options = debian_archive.host_archive(SUITE)
    bootstrap(work, SUITE, PACKAGES, sources, options, log=log)
    run_logged(["chroot", str(root), "sh", "-euc", f"mkdir -p /boot/grub; {CORE}"], log)
    core = (root / "core.img").read_bytes()
    (root / "core.img").unlink()
    customise(
        root,
        public_key=keys.public_key.read_text(encoding="utf-8"),
        host_key=keys.host_private_key.read_text(encoding="utf-8"),
        host_public_key=keys.host_public_key.read_text(encoding="utf-8"),
        done=DONE,
    )
    shutil.copy(root / "usr/share/grub/default/grub", root / "etc/default/grub")
    make_disk(root, work / "disk.raw", size_mib=SIZE_MIB, log=log)
    first_stage = (root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    install_boot_loader(work / "disk.raw", first_stage, core)
    (work / "disk.raw").replace(place)
    remove_tree(work)


def install_boot_loader(disk: Path, first_stage: bytes, core: bytes) -> None:
    """Write GRUB's first stage in front of the partition table and its core behind it.

    grub-mkimage has the core begin in sector 1, where the first stage looks for it.
    Source: GRUB, boot/i386/pc/boot.S (kernel_sector), util/mkimage.c (GRUB_DISKBOOT).
    """
    if SECTOR_BYTES + len(core) > PARTITION_OFFSET:
        message = f"GRUB's core has {len(core)} bytes: too many before the partition"
        raise ValueError(message)
    with disk.open("r+b") as file:
        file.write(first_stage[:440])
        file.seek(SECTOR_BYTES)
        file.write(core)
        os.fsync(file.fileno())
