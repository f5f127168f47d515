# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in the guest (guest_python.py sends it): devices to programs in user space, and back.

``main`` takes and returns plain data, for it travels as JSON.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import binding
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    Binding,
    binding_of,
    find_nvme,
)

PAGES = "sys/kernel/mm/hugepages/hugepages-2048kB"
COMPACT = "proc/sys/vm/compact_memory"
# Where systemd has it, too; SPDK finds it by the mount, wherever it is.
MOUNT_POINT = "/dev/hugepages"


def main(wish: Mapping[str, Any], system: Path = Path("/")) -> dict[str, Any]:
    """Bind or give back.

    Args:
        wish: ``hugepages_2m`` that shall be free and ``drivers`` by PCI address; or ``back``, what
            an earlier call returned as ``before``.
        system: root of the machine.

    Returns:
        ``before``: what each device changed had; ``refused``: the cause by address;
        ``hugepages_free``: null where none were wished for; ``not_mounted``: why no hugetlbfs is,
        null where one is, or none was wished for.
    """
    before: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for address, words in (wish.get("back") or {}).items():
        _change(address, Binding(**words), system, before, refused)
    for address, driver in (wish.get("drivers") or {}).items():
        _change(address, driver, system, before, refused)
    count = wish.get("hugepages_2m")
    free = reserve(count, system) if count else None
    return {
        "before": before,
        "refused": refused,
        "hugepages_free": free,
        "not_mounted": mount_hugetlbfs(system) if count else None,
    }


def _change(
    address: str, wanted: Any, system: Path, before: dict[str, Any], refused: dict[str, str]
) -> None:
    try:
        if isinstance(wanted, str):
            wanted = binding.wanted_binding(wanted, binding_of(find_nvme(address, system)))
        had = binding.change(address, wanted, system=system)
    except NvmelabError as error:
        refused[address] = str(error)
    else:
        before[address] = {"driver": had.driver, "override": had.override}


def reserve(count: int, system: Path) -> int:
    """Have this many pages of 2 MiB free; return how many are, as far as the kernel gives them."""
    free = _number(system / PAGES / "free_hugepages")
    total = _number(system / PAGES / "nr_hugepages") + count - free
    for attempt in range(3):
        if free >= count:
            break
        if attempt:  # pages may be had once memory is in one piece again
            (system / COMPACT).write_text("1\n", encoding="ascii")
        (system / PAGES / "nr_hugepages").write_text(f"{total}\n", encoding="ascii")
        free = _number(system / PAGES / "free_hugepages")
    return free


def mount_hugetlbfs(system: Path) -> Optional[str]:
    """Have a hugetlbfs mounted: programs look for one. Return what mount said if it failed."""
    mounts = (system / "proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    if any(line.split()[2] == "hugetlbfs" for line in mounts.splitlines()):
        return None
    (system / MOUNT_POINT.lstrip("/")).mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "hugetlbfs", MOUNT_POINT]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"mount ended with status {done.returncode}"


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
