# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory in hugepages a program that is to be started could have."""

from __future__ import annotations

from pathlib import Path


def free_mib(system: Path = Path("/")) -> dict[int, int]:
    """Return free MiB by page size in KiB; pages that are promised to others are not free."""
    found = {}
    for folder in sorted((system / "sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        size_kib = int(folder.name[len("hugepages-") : -len("kB")])
        free, promised = (
            int((folder / f"{which}_hugepages").read_text(encoding="ascii"))
            for which in ("free", "resv")
        )
        found[size_kib] = max(0, free - promised) * size_kib // 1024
    return found


def present_pages(size_kib: int, system: Path = Path("/")) -> int:
    """Return how many pages of this size the host has, free or not: what a wish would replace."""
    pool = system / f"sys/kernel/mm/hugepages/hugepages-{size_kib}kB/nr_hugepages"
    return int(pool.read_text(encoding="ascii")) if pool.exists() else 0
