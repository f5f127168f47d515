# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loaders with an entry file for each kernel: grubby's and systemd-boot's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import (
    RECORD,
    BootLoaderError,
    Edit,
    Machine,
    read_output,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import (
    count,
    missing,
    name_of,
    text,
    tokenise,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EFI_LOADER = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_CMDLINE = "/etc/kernel/cmdline"
_BOOT_FOLDERS = ("/efi", "/boot", "/boot/efi")
_GRUBBY_SAFE = re.compile(r"[A-Za-z0-9_.,:=+/@%-]+")


@dataclass(frozen=True)
class Grubby:
    """Fedora and RHEL: grubby changes all entries, in place, one value for each name."""

    machine: Machine
    tool: str
    name: str = "grubby"

    def claim(self, wanted: Sequence[str], known: Mapping[str, int]) -> list[str]:
        """Return the wanted arguments that are not there already by somebody else.

        Raises:
            BootLoaderError: grubby would overwrite what others set, or cannot write it at all.
        """
        entries = self.entries()
        ours = []
        for argument in wanted:
            having = [name for name, line in entries.items() if count(argument, line)]
            if argument in known or len(having) < len(entries):
                ours.append(argument)
            if having and argument not in known and len(having) < len(entries):
                self._refuse(argument, f"stands in some entries only ({', '.join(having)})")
        for argument in ours:
            self._check(argument, ours, known, entries)
        return ours

    def _check(
        self,
        argument: str,
        ours: Sequence[str],
        known: Mapping[str, int],
        entries: Mapping[str, Sequence[str]],
    ) -> None:
        if not _GRUBBY_SAFE.fullmatch(argument):
            self._refuse(argument, "has a character that grubby cannot write")
        twins = [other for other in ours if name_of(other) == name_of(argument)]
        if len(twins) > 1:
            self._refuse(argument, f"is wanted beside {' '.join(twins)}, grubby keeps one a name")
        for entry, line in entries.items():
            for other in line:
                foreign = other not in known and not count(other, ours)
                if foreign and name_of(other) == name_of(argument):
                    self._refuse(argument, f"would replace {other!r} of {entry}, which others set")

    def _refuse(self, argument: str, why: str) -> None:
        raise BootLoaderError(
            f"kernel argument {argument!r} {why}; nothing was changed: see `grubby --info=ALL`, "
            "and set or remove this one by hand"
        )

    def plan(
        self, ours: Sequence[str], saved: Optional[dict[str, Any]]
    ) -> tuple[list[Edit], Optional[dict[str, Any]]]:
        """Return no files: grubby writes them."""
        del ours
        return [], saved

    def commands(self, ours: Sequence[str], stale: Sequence[str]) -> list[list[str]]:
        """Return one call, that adds what is missing and removes what is stale."""
        lines = self.entries().values()
        lacking = [a for a in ours if any(a in missing(ours, line) for line in lines)]
        going = [a for a in [*stale, *lacking] if any(count(a, line) for line in lines)]
        argv = [self.tool, "--update-kernel=ALL"]
        argv += [f"--remove-args={' '.join(going)}"] if going else []
        argv += [f"--args={' '.join(lacking)}"] if lacking else []
        return [argv] if lacking or going else []

    def entries(self) -> dict[str, list[str]]:
        """Return what grubby tells of each kernel."""
        return grubby_entries(read_output([self.tool, "--info=ALL"]))


def grubby_entries(info: str) -> dict[str, list[str]]:
    """Return the arguments of each entry of ``grubby --info=ALL``, by its kernel and index."""
    entries: dict[str, list[str]] = {}
    fields: dict[str, str] = {}
    for line in info.splitlines():
        key, equals, value = line.partition("=")
        if key == "index":
            fields = {}
        if equals:
            fields[key] = value
        if key == "args" and "kernel" in fields:
            where = f"{fields['kernel']} (index {fields.get('index', '?')})"
            entries[where] = tokenise(value.strip()[1:-1])
    return entries


@dataclass(frozen=True)
class SystemdBoot:
    """systemd-boot: kernel-install copies ``/etc/kernel/cmdline`` into each kernel's entry."""

    machine: Machine
    tool: str
    name: str = "systemd-boot"

    def claim(self, wanted: Sequence[str], known: Mapping[str, int]) -> list[str]:
        """Return all: those of others stay in their own lines."""
        del known
        return list(wanted)

    def plan(
        self, ours: Sequence[str], saved: Optional[dict[str, Any]]
    ) -> tuple[list[Edit], Optional[dict[str, Any]]]:
        """Return the file with one line more, or as it was before we wrote it.

        Raises:
            BootLoaderError: somebody else changed the file since.
        """
        now = self.machine.read(_CMDLINE)
        if saved and now not in (saved["written"], saved["older"], saved["before"]):
            raise BootLoaderError(
                f"{_CMDLINE}: was changed by somebody else since nvmelab wrote its line "
                f"{saved['line']!r} there; put back the text that nvmelab left (saved.written in "
                f"{RECORD}), or, to keep theirs, remove that line and {RECORD}, and run again"
            )
        before, base = (saved["before"], saved["base"]) if saved else (now, self._base(now))
        if not ours:
            return ([Edit(_CMDLINE, now, before)] if saved and now != before else []), None
        line = " ".join(text(argument) for argument in ours)
        after = f"{base.rstrip()}\n{line}\n".lstrip("\n")
        # A run that is killed before it writes leaves the text of the run before.
        older = saved["written"] if saved else before
        kept = {"before": before, "base": base, "older": older, "written": after, "line": line}
        return ([] if now == after else [Edit(_CMDLINE, now, after)]), kept

    def _base(self, now: Optional[str]) -> str:
        """Return what kernel-install takes where the file is not there."""
        if now is None:
            now = self.machine.read("/usr/lib/kernel/cmdline")
        if now is None:
            own = ("BOOT_IMAGE", "initrd")
            now = " ".join(text(a) for a in self.machine.running() if name_of(a) not in own)
        return now

    def commands(self, ours: Sequence[str], stale: Sequence[str]) -> list[list[str]]:
        """Return a call of kernel-install for each installed kernel."""
        del ours, stale
        return [[self.tool, "add", *words] for words in self._kernels().values()]

    def _kernels(self) -> dict[str, list[str]]:
        kernels = {}
        folder = next((f for f in ("/usr/lib/modules", "/lib/modules") if self._is_dir(f)), None)
        for modules in sorted(self.machine.path(folder).iterdir()) if folder else []:
            images = (self.machine.path(f"/boot/vmlinuz-{modules.name}"), modules / "vmlinuz")
            image = next((str(image) for image in images if image.exists()), None)
            if image:
                initrd = self.machine.path(f"/boot/initrd.img-{modules.name}")
                words = [modules.name, image, *([str(initrd)] if initrd.exists() else [])]
                kernels[modules.name] = words
        return kernels

    def _is_dir(self, name: str) -> bool:
        return self.machine.path(name).is_dir()

    def entries(self) -> dict[str, list[str]]:
        """Return the options of the entries of kernels that are installed here."""
        versions = self._kernels()
        entries = {}
        for folder in _BOOT_FOLDERS:
            for path in sorted(self.machine.path(f"{folder}/loader/entries").glob("*.conf")):
                fields = _fields(path.read_text(encoding="utf-8"))
                if fields.get("version") in versions:
                    name = f"{folder}/loader/entries/{path.name}"
                    entries[name] = tokenise(fields.get("options", ""))
        return entries


def _fields(entry: str) -> dict[str, str]:
    """Return the fields of an entry file; options may stand there more than once."""
    fields: dict[str, str] = {}
    for line in entry.splitlines():
        key, *value = line.split(None, 1)[:2] or [""]
        fields[key] = " ".join([*([fields[key]] if key in fields else []), *value]).strip()
    return fields


def booted_by_systemd_boot(machine: Machine) -> bool:
    """Whether the variable in which EFI loaders give their name holds this one's."""
    try:
        told = machine.path(_EFI_LOADER).read_bytes()
    except OSError:
        return False
    return "systemd-boot" in told[4:].decode("utf-16-le", "replace")  # 4 bytes of attributes first
