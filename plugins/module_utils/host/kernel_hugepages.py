# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments that reserve hugepages, checked against the machine; pure.

They are the one kind that can keep a host from booting again: the kernel goes on reserving until
nothing is left, and then panics (Linux 6.1: "System is deadlocked on memory").

Source: Linux, mm/hugetlb.c hugepages_setup(), hugepagesz_setup(); Documentation/admin-guide/mm.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.kernel_cmdline import name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_SIZE = re.compile(r"(\d+)([KMG])", re.IGNORECASE)
_KIB = {"K": 1, "M": 1 << 10, "G": 1 << 20}
_COUNTS = re.compile(r"\d+|\d+:\d+(,\d+:\d+)*")
# What a system needs beside the pages, at least: a sixteenth, and no less than this.
_LEFT_KIB = 192 << 10
_LEFT_PART = 16


def refuse_hugepages(
    arguments: Sequence[str], *, sizes_kib: Collection[int], meminfo: Optional[str]
) -> None:
    """Refuse what the kernel would not understand, does not have, or would not survive.

    Args:
        arguments: as wanted; the size before a count is that of the count.
        sizes_kib: page sizes of the running kernel; none: not known.
        meminfo: text of ``/proc/meminfo``; None: not known.

    Raises:
        BadInputError: names the argument, what was found and what was wanted.
    """
    size = _default_kib(arguments, meminfo)
    total = 0
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name_of(name) in ("hugepagesz", "default_hugepagesz"):
            given = _size_kib(argument, value, sizes_kib)
            size = given if name_of(name) == "hugepagesz" else size
        elif name_of(name) == "hugepages":
            total += _count(argument, value) * size
    memory = _kib(meminfo, "MemTotal")
    if total and memory and total > memory - max(memory // _LEFT_PART, _LEFT_KIB):
        raise BadInputError(
            f"kernel arguments {' '.join(a for a in arguments if 'hugepage' in a)}: reserve "
            f"{total >> 10} MiB, and this host has {memory >> 10} MiB (MemTotal); it would not boot"
            f" again: leave {max(memory // _LEFT_PART, _LEFT_KIB) >> 10} MiB to the system"
        )


def _default_kib(arguments: Sequence[str], meminfo: Optional[str]) -> int:
    """Return the size of pages that are counted without one; 2 MiB where nobody says."""
    named = [a.partition("=")[2] for a in arguments if name_of(a) == "default_hugepagesz"]
    match = _SIZE.fullmatch(named[-1]) if named else None
    if match:
        return int(match[1]) * _KIB[match[2].upper()]
    return _kib(meminfo, "Hugepagesize") or 2 << 10


def _size_kib(argument: str, value: str, sizes_kib: Collection[int]) -> int:
    match = _SIZE.fullmatch(value)
    if not match:
        raise BadInputError(
            f"kernel argument {argument!r}: {value!r} is no page size; wanted such as 2M or 1G"
        )
    size = int(match[1]) * _KIB[match[2].upper()]
    if sizes_kib and size not in sizes_kib:
        has = ", ".join(f"{kib >> 10}M" for kib in sorted(sizes_kib))
        raise BadInputError(
            f"kernel argument {argument!r}: the kernel of this host has pages of {has} "
            "(/sys/kernel/mm/hugepages); name one of them"
        )
    return size


def _count(argument: str, value: str) -> int:
    if not _COUNTS.fullmatch(value):
        raise BadInputError(
            f"kernel argument {argument!r}: {value!r} is no count of pages; wanted such as 8, or "
            "0:4,1:4 for 4 on each of two nodes"
        )
    return sum(int(part.rpartition(":")[2]) for part in value.split(","))


def _kib(meminfo: Optional[str], key: str) -> int:
    """Return a figure of /proc/meminfo, 0 when it is not there."""
    match = re.search(rf"^{key}:\s+(\d+) kB", meminfo or "", re.MULTILINE)
    return int(match[1]) if match else 0
