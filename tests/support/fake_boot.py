# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of files, with boot loaders whose outermost tools are small shell programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import Machine

CHECKOUT = Path(__file__).resolve().parents[2]
UPDATE_GRUB = CHECKOUT / "molecule/kernel_cmdline/files/update-grub"
DROP_IN = "/etc/default/grub.d/90-nvmelab.cfg"
CMDLINE = "/etc/kernel/cmdline"
ENTRY = "/efi/loader/entries/debian-6.1.conf"
EFI_LOADER = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

U_BOOT_UPDATE = """#!/bin/sh
set -e
for file in ROOT/etc/u-boot-menu/conf.d/*.conf; do if [ -e "$file" ]; then . "$file"; fi; done
U_BOOT_PARAMETERS="${U_BOOT_PARAMETERS:-ro quiet}"
printf 'label l0\\n\\tlinux /boot/vmlinuz\\n\\tappend root=/dev/sda1 %s\\n' "$U_BOOT_PARAMETERS" \\
  > ROOT/boot/extlinux/extlinux.conf
"""
KERNEL_INSTALL = """#!/bin/sh
set -e
[ "$1" = add ] && [ -e "$3" ]
file=ROOT/etc/kernel/cmdline
[ -e "$file" ] || file=ROOT/proc/cmdline
printf 'title Debian\\nversion %s\\noptions %s\\n' "$2" "$(tr -s '\\n' ' ' < "$file")" \\
  > ROOT/efi/loader/entries/debian-$2.conf
"""
# grubby of Fedora in its essence: one value for each name, and options that it splits at blanks.
GRUBBY = """#!/usr/bin/python3
import pathlib, sys
file = pathlib.Path("ROOT/boot/options")
line = file.read_text().split()
for word in sys.argv[1:]:
    option, _, value = word.partition("=")
    if option == "--info":
        print(f'index=0\\nkernel="/boot/vmlinuz-6.1"\\nargs="{" ".join(line)}"\\nroot="/dev/sda1"')
        print('index=1\\nnon linux entry')
    for argument in value.split():
        if option == "--remove-args":
            line = [a for a in line if a != argument]
        if option == "--args":
            line = [a for a in line if a.split("=")[0] != argument.split("=")[0]] + [argument]
file.write_text(" ".join(line) + "\\n")
"""


def write(root: Path, name: str, content: str, mode: int = 0o644) -> Path:
    """Write a file of the machine."""
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def _tool(root: Path, name: str, content: str) -> None:
    write(root, f"/usr/sbin/{name}", content.replace("ROOT/", f"{root}/"), 0o755)


def bare(root: Path, running: str) -> Machine:
    """A machine with four CPUs and no boot loader."""
    write(root, "/proc/cmdline", f"{running}\n")
    write(root, "/sys/devices/system/cpu/possible", "0-3\n")
    return Machine(root)


def grub(root: Path) -> Machine:
    """Debian with GRUB, booted by it, its grub.cfg made."""
    machine = bare(root, "BOOT_IMAGE=/vmlinuz-6.1 root=UUID=4f ro quiet")
    settings = "GRUB_CMDLINE_LINUX=\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n"
    write(root, "/etc/default/grub", settings)
    write(root, "/var/tmp/update-grub.calls", "")
    program = UPDATE_GRUB.read_text().replace("ROOT=\n", f"ROOT={root}\n")
    write(root, "/usr/sbin/update-grub", program, 0o755)
    (root / "boot/grub").mkdir(parents=True)
    subprocess.run([str(root / "usr/sbin/update-grub")], check=True)
    write(root, "/var/tmp/update-grub.calls", "")
    return machine


def extlinux(root: Path) -> Machine:
    """Debian with u-boot-menu; U-Boot tells no BOOT_IMAGE."""
    machine = bare(root, "root=/dev/sda1 ro quiet")
    _tool(root, "u-boot-update", U_BOOT_UPDATE)
    (root / "boot/extlinux").mkdir(parents=True)
    subprocess.run([str(root / "usr/sbin/u-boot-update")], check=True)
    return machine


def systemd_boot(root: Path, cmdline: str | None = "root=UUID=4f ro quiet\n") -> Machine:
    """Debian with systemd-boot; with no ``/etc/kernel/cmdline`` the running one is taken."""
    machine = bare(root, "root=UUID=4f ro quiet")
    _tool(root, "kernel-install", KERNEL_INSTALL)
    write(root, EFI_LOADER, "")
    loader = b"\x06\0\0\0" + "systemd-boot 252\0".encode("utf-16-le")
    (root / EFI_LOADER.lstrip("/")).write_bytes(loader)
    write(root, "/usr/lib/modules/6.1/vmlinuz", "")
    write(root, ENTRY, "title Debian\nversion 6.1\noptions root=UUID=4f ro quiet \n")
    if cmdline is not None:
        write(root, CMDLINE, cmdline, 0o640)
    return machine


def fedora(root: Path, options: str = "ro rhgb") -> Machine:
    """Fedora with grubby."""
    machine = bare(root, f"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-6.1 root=/dev/sda1 {options}")
    _tool(root, "grubby", GRUBBY)
    write(root, "/boot/options", f"{options}\n")
    return machine


def tree(root: Path) -> dict[str, str]:
    """Everything of the machine that outlives a boot: names, modes and contents."""
    return {
        str(path.relative_to(root)): f"{path.stat().st_mode:o} "
        + (path.read_bytes().decode("latin-1") if path.is_file() else "")
        for path in sorted(root.rglob("*"))
        if path.relative_to(root).parts[0] != "run" and "calls" not in path.name
    }


def calls(root: Path) -> int:
    """How often update-grub was called."""
    return len((root / "var/tmp/update-grub.calls").read_text().splitlines())
