# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which boot loader this machine has, and those that are told by a drop-in of our own.

A loader knows three things: which files it wants changed (``plan``), which commands make the boot
configuration from them (``commands``), and what that configuration holds (``entries``). Whether
something is to do is decided by the last, so a rebuild that failed is made up for by the next run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol

from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_entries import (
    Grubby,
    SystemdBoot,
    booted_by_systemd_boot,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import (
    BootLoaderError,
    Edit,
    Machine,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import (
    grub_quoted,
    name_of,
    render_drop_in,
    text,
    tokenise,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Entries = dict[str, list[str]]

_MARK = "# Written by nvmelab.bench.kernel_cmdline; the next run overwrites changes.\n"
_CONTAINER_MARKS = ("/run/systemd/container", "/run/.containerenv", "/.dockerenv")
_GRUB_CFG = "/boot/grub/grub.cfg"
_EXTLINUX_CFG = "/boot/extlinux/extlinux.conf"
# What u-boot-update itself does as long as nobody sets the variable (u-boot-menu 4.2).
_U_BOOT_FALLBACK = """\
if [ -z "$U_BOOT_PARAMETERS" ] && [ -f /etc/kernel/cmdline ]; then
  U_BOOT_PARAMETERS="$(sed -e 's/root=[^[:space:]]*//' -e 's/^[[:space:]]*//' /etc/kernel/cmdline)"
  U_BOOT_ROOT="${U_BOOT_ROOT:-$(sed -re 's/.*(root=[^[:space:]]*).*/\\1/' /etc/kernel/cmdline)}"
fi
"""


class BootLoader(Protocol):
    """What ``boot_change`` asks of a boot loader."""

    @property
    def name(self) -> str:
        """Its name, as the module returns it."""

    def claim(self, wanted: Sequence[str], known: Mapping[str, int]) -> list[str]:
        """Return the wanted arguments that we put there, so that undo takes them away."""

    def plan(
        self, ours: Sequence[str], saved: Optional[dict[str, Any]]
    ) -> tuple[list[Edit], Optional[dict[str, Any]]]:
        """Return the files to change, and what must be remembered to put them back."""

    def commands(self, ours: Sequence[str], stale: Sequence[str]) -> list[list[str]]:
        """Return what makes the boot configuration; called after the files were changed."""

    def entries(self) -> Entries:
        """Return the arguments that the boot configuration holds, by the entry's name."""


@dataclass(frozen=True)
class Grub:
    """GRUB as Debian and Ubuntu have it: shell files, read by update-grub."""

    machine: Machine
    tool: str
    name: str = "grub"
    drop_in: str = "/etc/default/grub.d/90-nvmelab.cfg"

    def claim(self, wanted: Sequence[str], known: Mapping[str, int]) -> list[str]:
        """Return all: those of others stay in their own files."""
        del known
        return list(wanted)

    def plan(
        self, ours: Sequence[str], saved: Optional[dict[str, Any]]
    ) -> tuple[list[Edit], Optional[dict[str, Any]]]:
        """Return the drop-in, where it differs."""
        # Not GRUB_CMDLINE_LINUX, which the recovery entries have too: they stay a way out.
        words = [grub_quoted(argument) for argument in ours]
        content = render_drop_in("GRUB_CMDLINE_LINUX_DEFAULT", "", words, _MARK)
        return drop_in_edits(self.machine, self.drop_in, content if ours else None), saved

    def commands(self, ours: Sequence[str], stale: Sequence[str]) -> list[list[str]]:
        """Return update-grub."""
        del ours, stale
        return [[self.tool]]

    def entries(self) -> Entries:
        """Return the arguments of grub.cfg's Linux entries."""
        return grub_entries(self.machine.read(_GRUB_CFG) or "")


@dataclass(frozen=True)
class Extlinux(Grub):
    """extlinux.conf as Debian's u-boot-menu makes it: shell files, read by u-boot-update."""

    name: str = "extlinux"
    drop_in: str = "/etc/u-boot-menu/conf.d/90-nvmelab.conf"

    def plan(
        self, ours: Sequence[str], saved: Optional[dict[str, Any]]
    ) -> tuple[list[Edit], Optional[dict[str, Any]]]:
        """Return the drop-in, where it differs."""
        words = [text(argument) for argument in ours]
        header = _MARK + _U_BOOT_FALLBACK
        content = render_drop_in("U_BOOT_PARAMETERS", "ro quiet", words, header)
        return drop_in_edits(self.machine, self.drop_in, content if ours else None), saved

    def entries(self) -> Entries:
        """Return the arguments of extlinux.conf's entries."""
        return extlinux_entries(self.machine.read(_EXTLINUX_CFG) or "")


DROP_INS = (Grub.drop_in, Extlinux.drop_in)


def drop_in_edits(machine: Machine, path: str, after: Optional[str]) -> list[Edit]:
    """Return the change of a drop-in, none where it is as wanted.

    Raises:
        BootLoaderError: somebody else's file has that name.
    """
    before = machine.read(path)
    if before is not None and not before.startswith(_MARK):
        raise BootLoaderError(
            f"{path}: is there, but was not written by nvmelab (its first line is not "
            f"{_MARK.strip()!r}); move it away and run again"
        )
    return [] if before == after else [Edit(path, before, after)]


def grub_entries(config: str) -> Entries:
    """Return the arguments of each Linux entry of a grub.cfg, without other systems and recovery.

    Source: GRUB, util/grub.d/10_linux.in; what it writes stands between two comments.

    Raises:
        BootLoaderError: a line that GRUB itself could not read.
    """
    entries: Entries = {}
    section, title, recovery = "", "", False
    for number, line in enumerate(config.splitlines(), 1):
        words = line.split(None, 1)
        if line.startswith("### BEGIN "):
            section = line.split()[2].rpartition("/")[2]
        elif words[:1] == ["menuentry"]:
            title = (re.findall(r"'([^']*)'", line) or [f"line {number}"])[0]
            recovery = bool(re.search(r"'gnulinux-[^']*-recovery-[^']*'", line))
        elif recovery or not section.startswith("10_linux"):
            continue
        elif len(words) > 1 and re.fullmatch(r"linux(16|efi)?", words[0]):
            entries[f"{title} (line {number})"] = _grub_words(words[1], number)[1:]
    return entries


def _grub_words(line: str, number: int) -> list[str]:
    try:
        return shlex.split(line)  # GRUB's quoting is the shell's
    except ValueError as error:
        raise BootLoaderError(f"{_GRUB_CFG}: line {number}: {error}") from error


def extlinux_entries(config: str) -> Entries:
    """Return the arguments of each label of an extlinux.conf."""
    entries: Entries = {}
    label = "default"
    for line in config.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword.lower() == "label":
            label = value.strip()
        elif keyword.lower() == "append":
            entries[label] = tokenise(value)
    return entries


def find_boot_loader(machine: Machine) -> BootLoader:
    """Return the boot loader that started this kernel.

    Raises:
        BootLoaderError: a container, or none of those that are known; names what was looked for.
    """
    mark = next((mark for mark in _CONTAINER_MARKS if machine.path(mark).exists()), None)
    if mark:
        raise BootLoaderError(
            f"this host is a container ({mark} is there), its kernel is another machine's; set the "
            "kernel's arguments there"
        )
    if booted_by_systemd_boot(machine) and (tool := machine.tool("kernel-install")):
        return SystemdBoot(machine, tool)
    # GRUB, syslinux and no other hand their image's name over; a direct kernel boot does not.
    named_image = any(name_of(argument) == "BOOT_IMAGE" for argument in machine.running())
    if named_image and (tool := machine.tool("grubby")):
        return Grubby(machine, tool)
    if named_image and (tool := machine.tool("update-grub")) and _has(machine, _GRUB_CFG):
        return Grub(machine, tool)
    if (tool := machine.tool("u-boot-update")) and _has(machine, _EXTLINUX_CFG):
        return Extlinux(machine, tool)
    raise BootLoaderError(
        "no boot loader that can be told the kernel's arguments; looked for update-grub with "
        f"{_GRUB_CFG}, grubby, kernel-install with systemd-boot as the loader that EFI names, and "
        f"u-boot-update with {_EXTLINUX_CFG}; BOOT_IMAGE= in /proc/cmdline, which GRUB always sets,"
        f" is {'there' if named_image else 'not there (a kernel that was booted directly?)'}"
    )


def _has(machine: Machine, path: str) -> bool:
    return machine.path(path).exists()
