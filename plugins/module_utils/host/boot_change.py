# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the boot configuration hold the wanted arguments, and takes them away again.

Before anything is written, a record says what will be ours and how it was before; it is gone after
the undo. What a killed run left is thereby known to the next one. A second, short-lived record in
``/run`` remembers until the next boot which of our arguments the running kernel may still have.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_loader import (
    DROP_INS,
    BootLoader,
    Entries,
    drop_in_edits,
    find_boot_loader,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import (
    RECORD,
    BootLoaderError,
    Changer,
    Edit,
    Machine,
    remove_empty,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_record import (
    REMOVED,
    Record,
    load_record,
    load_removed,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import (
    check_wanted,
    count,
    missing,
    overridden,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_hugepages import (
    refuse_hugepages,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_log import (
    complaints,
    kernel_messages,
    read_kernel_log,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POSSIBLE_CPUS = "/sys/devices/system/cpu/possible"
_PAGE_SIZES = "/sys/kernel/mm/hugepages"
_KERNEL_LOG = "/dev/kmsg"


@dataclass
class Outcome:
    """What the module returns; ``diff`` as Ansible shows it."""

    boot_loader: Optional[str]
    wanted: list[str]
    running: list[str]
    configured: list[str]
    missing: list[str]
    surplus: list[str]
    complaints: list[str]
    reboot_required: bool
    actions: list[str]
    diff: list[dict[str, str]]


def converge(machine: Machine, words: Sequence[str], *, check_mode: bool) -> Outcome:
    """Make the machine boot with these arguments of ours and no others.

    Args:
        machine: where.
        words: the arguments as a user gives them; none: everything is put back.
        check_mode: only tell what would be done.

    Raises:
        BadInputError: arguments that cannot be meant; nothing was touched.
        BootLoaderError: no boot loader, or it failed, or did not do as it was told.
    """
    wanted = _check(machine, words)
    record = load_record(machine)
    if not wanted and record is None and not _left_drop_ins(machine):
        return _outcome(machine, None, wanted, {}, load_removed(machine))
    loader = find_boot_loader(machine)
    if record and record.boot_loader != loader.name:
        raise BootLoaderError(
            f"{RECORD}: {record.boot_loader} was told the arguments, but {loader.name} boots this "
            f"host now; take them out of {record.boot_loader}'s configuration, remove that file, "
            "and run again"
        )
    return _Run(machine, loader, wanted, record, check_mode=check_mode).converge()


def _check(machine: Machine, words: Sequence[str]) -> list[str]:
    possible = machine.read(_POSSIBLE_CPUS) if words else ""
    if possible is None:
        raise BootLoaderError(f"{machine.path(_POSSIBLE_CPUS)}: is not there; mount sysfs")
    wanted = check_wanted(words, possible)
    folders = machine.path(_PAGE_SIZES).glob("hugepages-*kB")
    sizes = [int(path.name.partition("-")[2].removesuffix("kB")) for path in folders]
    refuse_hugepages(wanted, sizes_kib=sizes, meminfo=machine.read("/proc/meminfo"))
    return wanted


class _Run:
    """One convergence: what is there, what shall be, and the way between."""

    def __init__(
        self,
        machine: Machine,
        loader: BootLoader,
        wanted: list[str],
        record: Optional[Record],
        *,
        check_mode: bool,
    ) -> None:
        self.machine, self.loader, self.wanted = machine, loader, wanted
        self.record = record or Record(loader.name, settled=True)
        self.changer = Changer(machine, check_mode)
        self.entries = loader.entries()
        known = self.record.arguments
        self.ours = loader.claim(wanted, known)
        self.stale = {a: others for a, others in known.items() if not count(a, self.ours)}
        self.removed = {**load_removed(machine), **self.stale}

    def converge(self) -> Outcome:
        """Change what is to change, and only when something is."""
        edits, saved = self.loader.plan(self.ours, self.record.saved)
        begun = self._begun(edits, saved)
        faults = find_faults(self.entries, self.wanted, self.stale)
        diff: list[dict[str, str]] = []
        if edits or faults or begun.arguments != self.record.arguments or not self._is_settled():
            diff = self._change(edits, begun)
        outcome = _outcome(
            self.machine, self.loader, self.wanted, self.entries, self.removed, self.changer.done
        )
        outcome.diff = diff
        return outcome

    def _is_settled(self) -> bool:
        return self.record.settled and not self.stale

    def _begun(self, edits: Sequence[Edit], saved: Optional[dict[str, Any]]) -> Record:
        """Return the record of a change that has begun: what was ours and what will be."""
        arguments = dict(self.record.arguments)
        for argument in self.ours:
            others = max((count(argument, line) for line in self.entries.values()), default=0)
            arguments.setdefault(argument, others)
        written = [RECORD, *(edit.path for edit in edits if edit.after is not None)]
        return replace(
            self.record,
            arguments=arguments,
            settled=False,
            # Until the undo is done, what is needed for it stays.
            saved=saved or self.record.saved,
            made=sorted({*self.record.made, *self.machine.absent_folders(written)}),
        )

    def _change(self, edits: Sequence[Edit], begun: Record) -> list[dict[str, str]]:
        self._remember(begun)
        if self.stale:
            self._write(REMOVED, json.dumps(self.removed) + "\n")
        for edit in edits:
            self.changer.edit(edit)
        commands = self.loader.commands(self.ours, list(self.stale))
        for argv in commands:
            self.changer.run(argv)
        if not self.changer.check_mode:
            self._verify()
        self._settle(begun)
        return [*map(_edit_diff, edits), *({"prepared": f"run {' '.join(c)}\n"} for c in commands)]

    def _verify(self) -> None:
        self.entries = self.loader.entries()
        faults = find_faults(self.entries, self.wanted, self.stale)
        if faults:
            raise BootLoaderError(
                f"{self.loader.name} was told, but its boot configuration is not as wanted: "
                f"{'; '.join(faults)}; look for another file or tool that sets them, and run again"
            )

    def _settle(self, begun: Record) -> None:
        if self.ours:
            mine = {a: n for a, n in begun.arguments.items() if count(a, self.ours)}
            self._remember(replace(begun, arguments=mine, settled=True))
            return
        above = [str(parent) for parent in PurePosixPath(RECORD).parents]
        self.changer.remove_folders([folder for folder in begun.made if folder not in above])
        if self.machine.read(RECORD) is not None:
            made = [folder for folder in begun.made if folder in above]
            self.changer.change(f"remove {RECORD}", lambda: self._forget(made))

    def _forget(self, folders: Sequence[str]) -> None:
        """Remove the record, and in the same breath the folders that only it knew to be ours."""
        self.machine.path(RECORD).unlink()
        remove_empty(self.machine, folders)

    def _remember(self, record: Record) -> None:
        self._write(RECORD, json.dumps(asdict(record), indent=1) + "\n")

    def _write(self, path: str, text: str) -> None:
        before = self.machine.read(path)
        if before != text:
            self.changer.edit(Edit(path, before, text))


def find_faults(entries: Entries, wanted: Sequence[str], stale: Mapping[str, int]) -> list[str]:
    """Return in words what is not as wanted in a boot configuration; none: all is.

    Args:
        entries: the arguments of each entry.
        wanted: must be in force in each.
        stale: ours once, not wanted now; the number is how often others have it there.
    """
    faults = [] if entries else ["it has no Linux entry"]
    for entry, line in entries.items():
        lacking = missing(wanted, line)
        if lacking:
            instead = overridden(lacking, line)
            having = f" but {' '.join(instead)}" if instead else ""
            faults.append(f"{entry} has not {' '.join(lacking)} in force{having}")
        still = [argument for argument, others in stale.items() if count(argument, line) > others]
        if still:
            faults.append(f"{entry} still has {' '.join(still)}")
    return faults


def _outcome(
    machine: Machine,
    loader: Optional[BootLoader],
    wanted: list[str],
    entries: Entries,
    removed: Mapping[str, int],
    actions: Sequence[str] = (),
) -> Outcome:
    running = machine.running()
    lacking, surplus = missing(wanted, running), overridden(wanted, running)
    gone = {argument: n for argument, n in removed.items() if not count(argument, wanted)}
    still = [argument for argument, others in gone.items() if count(argument, running) > others]
    in_force = [argument for argument in wanted if argument not in lacking]
    log = read_kernel_log(machine.path(_KERNEL_LOG)) if in_force else ""
    return Outcome(
        boot_loader=loader.name if loader else None,
        wanted=wanted,
        running=running,
        configured=next(iter(entries.values()), []),
        missing=lacking,
        surplus=surplus + [argument for argument in still if argument not in surplus],
        complaints=complaints(kernel_messages(log), in_force),
        reboot_required=bool(lacking or still),
        actions=list(actions),
        diff=[],
    )


def _edit_diff(edit: Edit) -> dict[str, str]:
    return {
        "before_header": edit.path,
        "after_header": edit.path,
        "before": edit.before or "",
        "after": edit.after or "",
    }


def _left_drop_ins(machine: Machine) -> list[Edit]:
    """Return the removal of drop-ins of ours that no record knows of."""
    found = [path for path in DROP_INS if machine.read(path) is not None]
    return [edit for path in found for edit in drop_in_edits(machine, path, None)]
