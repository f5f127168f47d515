# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of an audit that come from the other cores: kernel arguments and hugepages.

They read; nothing here can fail because of what the host is: that is a row's state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages, kernel_cmdline
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import Machine
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.rows import Row

if TYPE_CHECKING:
    from pathlib import Path

POSSIBLE_CPUS = "/sys/devices/system/cpu/possible"


def cmdline_row(wanted: Sequence[str], system: Path) -> Row:
    """Return whether the running kernel was booted with these arguments; one row for all.

    ``effective`` is the whole command line when nothing is asked, else what of it bears the
    wanted names.
    """
    machine = Machine(system)
    running = machine.running()
    if not wanted:
        line = _line(running)
        return _row("kernel_cmdline", None, line, "recorded", f"the kernel runs with {line}")
    asked = _line(wanted)
    try:
        arguments = kernel_cmdline.check_wanted(wanted, machine.read(POSSIBLE_CPUS) or "0")
    except BadInputError as error:
        return _row("kernel_cmdline", asked, None, "differs", str(error))
    names = {kernel_cmdline.name_of(argument) for argument in arguments}
    found = [argument for argument in running if kernel_cmdline.name_of(argument) in names]
    effective = _line(found)
    lacking = kernel_cmdline.missing(arguments, running)
    if not lacking:
        return _row("kernel_cmdline", asked, effective, "ok", f"the kernel runs with {asked}")
    having = f", and has {effective}" if found else ""
    text = f"the running kernel lacks {_line(lacking)}{having}; role kernel_cmdline sets it at boot"
    return _row("kernel_cmdline", asked, effective, "differs", text)


def _line(arguments: Sequence[str]) -> str:
    return " ".join(map(kernel_cmdline.text, arguments)) or "none"


def hugepages_row(pages: Sequence[Mapping[str, Any]], record_path: Path, system: Path) -> Row:
    """Return whether so many pages are there for us; one row for all sizes and nodes.

    Args:
        pages: as module hugepages takes them.
        record_path: where that module recorded what was there before its first change.
        system: root of the machine.
    """
    asked = _asked_pages(pages)
    try:
        now = hugepages.read_state(system)
        effective = _reserved(now)
        if not pages:
            return _row("hugepages", None, effective, "recorded", f"{effective or 'none'} reserved")
        if not any(hugepages.PAGE_SIZES_KIB[pool.page_size] for pool in now):
            return _row("hugepages", asked, None, "unavailable", "this kernel has no hugepages")
        wishes = hugepages.resolve(pages, now, system)
        record = hugepages.load_record(record_path, system).extended(now, wishes, [])
        missing = _missing(hugepages.rows(now, record.before, wishes))
    except (BadInputError, NvmelabError) as error:
        return _row("hugepages", asked, None, "differs", str(error))
    if missing:
        return _row("hugepages", asked, effective, "differs", missing)
    return _row("hugepages", asked, effective, "ok", f"{asked}: all are there")


def _asked_pages(pages: Sequence[Mapping[str, Any]]) -> Optional[str]:
    texts = []
    for item in pages:
        place = "" if item.get("node") is None else f" on node {item['node']}"
        texts.append(f"{item.get('count')} x {item.get('page_size')}{place}")
    return ", ".join(texts) or None


def _reserved(now: hugepages.State) -> Optional[str]:
    """Return the reserved pages as text; how many are free differs between any two moments."""
    texts = [f"{counts.reserved} x {pool}" for pool, counts in sorted(now.items())]
    return ", ".join(texts).replace(" pages", "") or None


def _missing(table: Sequence[Mapping[str, Any]]) -> str:
    short = [
        f"{hugepages.Pool(row['page_size'], row['node'])}: {row['got']} of {row['wanted']} are free"
        for row in table
        if row["missing"]
    ]
    return "; ".join(short)


def _row(name: str, asked: Optional[str], effective: Optional[str], state: str, text: str) -> Row:
    return Row(name, name, asked, effective, state, text)
