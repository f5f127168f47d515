# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a guest, by evidence: the serial log, QEMU's exit status, QMP."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import Qmp, QmpError
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import (
    Process,
    exit_reason,
    log_tail,
    wait,
)

# A panic with its registers and traces fits in this many bytes, and its last line names it again.
_TAIL_BYTES = 32768
_DYING_S = 2.0
# What QEMU writes after "hardware error": each vCPU's registers, some 100 lines.
_DUMP_LINES = 1000
_REGISTERS = re.compile(r"CPU #\d+:|\w+ ?=\s*[0-9a-f]{4}")
_PANIC = "Kernel panic - not syncing"
# Every other run state of QEMU is a passing one of start, migration or debugging.
_BAD_STATES = ("io-error", "internal-error", "guest-panicked", "shutdown", "watchdog")


def find_trouble(
    process: Process,
    qmp: Optional[Qmp],
    serial_log: Union[str, os.PathLike[str]],
    *,
    paused_by_us: bool = False,
) -> Optional[str]:
    """Return what is wrong with a running guest in one sentence, or None.

    ``qmp`` is None while QEMU has not opened its socket yet.
    """
    panic = panic_line(serial_log)
    ended = exit_reason(process)
    if panic:
        return f"the guest's kernel panicked: {panic}"
    if ended:
        said = _last_words(process.log)
        return f"QEMU {ended}" + (f": {said}" if said else " and said nothing")
    return _qmp_trouble(process, qmp, paused_by_us=paused_by_us) if qmp else None


def _last_words(log: str) -> str:
    """Return the end of QEMU's log in one line; the registers that follow a cause are none."""
    told = [line for line in log_tail(log, _DUMP_LINES).splitlines() if not _REGISTERS.match(line)]
    return " | ".join(told[-2:])


def panic_line(serial_log: Union[str, os.PathLike[str]]) -> Optional[str]:
    """Return the first line of a serial log's end that speaks of a panic, or None."""
    try:
        with Path(serial_log).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    return next((line.strip() for line in text.splitlines() if _PANIC in line), None)


def _qmp_trouble(process: Process, qmp: Qmp, *, paused_by_us: bool) -> Optional[str]:
    try:
        status = qmp.execute("query-status")["status"]
    except QmpError as error:
        # A killed QEMU closes its socket before its last thread is gone.
        if not wait(process, deadline_s=_DYING_S):
            return f"QEMU runs (pid {process.pid}) but does not answer: {error}"
        return f"QEMU {exit_reason(process)}"
    full = _full_device(qmp)
    if full:
        return f"no space left on the lab host for the guest's block device {full}"
    if status == "io-error":
        return "QEMU paused the guest after an I/O error of a disk (query-status: io-error)"
    if status in _BAD_STATES or (status == "paused" and not paused_by_us):
        return f"QEMU holds the guest (query-status: {status})"
    return None


def _full_device(qmp: Qmp) -> Optional[str]:
    """Return the block device that ran out of space, by the events that QEMU sent."""
    for event in qmp.poll_events():
        data: dict[str, Any] = event.get("data", {})
        if event.get("event") == "BLOCK_IO_ERROR" and data.get("nospace"):
            return str(data.get("device") or data.get("node-name") or data.get("qom-path"))
    return None
