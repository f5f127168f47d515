# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine whose boot loader is looked at, and the one door through which it is changed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_text
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.commands import find_tool, output
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import tokenise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_COMMAND_S = 900  # os-prober and an initrd for each kernel take minutes on a slow disk
_ADVICE = "mend that and run again: the boot configuration is then made anew"
# What was put where, from before the first write until after the undo.
RECORD = "/var/lib/nvmelab/kernel_cmdline.json"


class BootLoaderError(NvmelabError):
    """The boot loader is not there, not known, or does not do as it is told."""


@dataclass(frozen=True)
class Machine:
    """A machine by its root folder: ``/``, or a tree of files in tests."""

    root: Path

    def path(self, name: str) -> Path:
        """Return where this absolute name lies."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> Optional[str]:
        """Return a file's text, None when it is not there."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def tool(self, name: str) -> Optional[str]:
        """Return the path of a program that can be run, None when there is none."""
        return find_tool(self.root, name)

    def absent_folders(self, names: Sequence[str]) -> list[str]:
        """Return the folders above these files that are not there."""
        parents = {parent for name in names for parent in self.path(name).parents}
        inside = [parent for parent in parents if self.root in parent.parents]
        return sorted(f"/{p.relative_to(self.root)}" for p in inside if not p.exists())

    def running(self) -> list[str]:
        """Return the arguments that the running kernel was booted with."""
        return tokenise(self.read("/proc/cmdline") or "")


@dataclass(frozen=True)
class Edit:
    """One file as it is and as it shall be; None: it is not there."""

    path: str
    before: Optional[str]
    after: Optional[str]


@dataclass
class Changer:
    """Every write goes through ``change``, so check mode is decided in one place."""

    machine: Machine
    check_mode: bool
    done: list[str] = field(default_factory=list)

    def change(self, what: str, action: Callable[[], object]) -> None:
        """Do it, unless in check mode; ``done`` tells what was or would be done."""
        self.done.append(what)
        if not self.check_mode:
            action()

    def edit(self, edit: Edit) -> None:
        """Make the file what it shall be."""
        verb = "remove" if edit.after is None else "write"
        self.change(f"{verb} {edit.path}", lambda: self._edit(edit))

    def _edit(self, edit: Edit) -> None:
        path = self.machine.path(edit.path)
        if edit.after is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        status = path.stat() if path.exists() else None
        write_text(path, edit.after)
        if status:
            os.chown(path, status.st_uid, status.st_gid)
            path.chmod(status.st_mode & 0o7777)

    def run(self, argv: Sequence[str]) -> None:
        """Run a command that writes.

        Raises:
            BootLoaderError: it failed or did not end; with the end of what it said.
        """
        self.change(f"run {' '.join(argv)}", lambda: read_output(argv))

    def remove_folders(self, folders: Sequence[str]) -> None:
        """Remove the folders that were made, unless others use them now."""
        present = [folder for folder in folders if self.machine.path(folder).is_dir()]
        if present:
            self.change(
                f"remove {' '.join(present)}, if empty",
                lambda: remove_empty(self.machine, present),
            )


def remove_empty(machine: Machine, folders: Sequence[str]) -> None:
    """Remove those folders that are empty, the deepest first."""
    for folder in sorted(folders, key=len, reverse=True):
        path = machine.path(folder)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def read_output(argv: Sequence[str]) -> str:
    """Return what a command writes to its standard output.

    Raises:
        BootLoaderError: it failed or did not end; with the end of what it said.
    """
    return output(argv, error=BootLoaderError, deadline_s=_COMMAND_S, advice=_ADVICE)
