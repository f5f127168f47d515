# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches of the kernel that disturb CPUs or vary runs: watchdog, timers, autogroups, ASLR.

Source: admin-guide/sysctl/kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.file_knob import (
    FileKnob,
    SwitchKnob,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError

if TYPE_CHECKING:
    from pathlib import Path

_ENOTSUPP = 524  # the kernel's own, unknown to errno
_ASLR_LEVELS = ("0", "1", "2")


class Aslr(FileKnob):
    """Where programs are put in memory; 0 is the same place each time, 2 is usual."""

    name = "aslr"
    group = "quiet_host"
    pattern = "proc/sys/kernel/randomize_va_space"
    missing = "this kernel does not tell where it puts programs (no /proc/sys)"

    def text_of(self, asked: Any) -> str:
        """Return the level as text."""
        if isinstance(asked, bool) or str(asked) not in _ASLR_LEVELS:
            raise BadInputError(f"{self.group}: {self.name} {asked!r}: wanted 0, 1 or 2")
        return str(asked)


class NmiWatchdog(SwitchKnob):
    """The hard-lockup detector: a perf counter and an interrupt of each CPU."""

    name = "nmi_watchdog"
    group = "quiet_host"
    pattern = "proc/sys/kernel/nmi_watchdog"
    missing = "this kernel has no NMI watchdog"

    def write(self, system: Path, place: str, value: str) -> None:
        """Write it; the kernel of a VM often has the file and not the counter."""
        try:
            super().write(system, place, value)
        except KnobError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != _ENOTSUPP:
                raise
            raise KnobError(
                f"{system / place}: {value!r} was refused: there is no perf counter for it, as in "
                "a VM; next: do not ask for nmi_watchdog"
            ) from error


class TimerMigration(SwitchKnob):
    """Whether timers of idle CPUs move to busy ones."""

    name = "timer_migration"
    group = "quiet_host"
    pattern = "proc/sys/kernel/timer_migration"
    missing = "this kernel does not move timers"


class SchedAutogroup(SwitchKnob):
    """Whether each session gets an equal share of CPU time, however many threads it has."""

    name = "sched_autogroup"
    group = "quiet_host"
    pattern = "proc/sys/kernel/sched_autogroup_enabled"
    missing = "this kernel does not group sessions (no autogroup)"
