# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an SPDK application needs of its host, looked for before it is started.

Without it SPDK ends after a minute of its environment layer's own words.
Source: SPDK v25.05, lib/event/app.c (claim_cpu_cores), DPDK 25.03 EAL.
"""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.free_hugepages import (
    free_mib,
    present_pages,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugetlb_mounts import (
    default_size_kib,
    read_mounts,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import TargetError
from ansible_collections.nvmelab.bench.plugins.module_utils.target.unix_socket import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSTEM = Path("/")
_LOCKS = "var/tmp"
# What a killed application leaves outside of our folders: its trace in shared memory, 3 MiB, which
# bears the application's name, not the program's. DPDK's folder stays after a good end, too.
_TRACE = "dev/shm/{}_trace.pid{}"
_RUNTIME = "run/dpdk/spdk_pid{}"
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, pid


def require_cores(name: str, cpus: Sequence[int], system: Optional[Path] = None) -> None:
    """Return when these CPUs are there and no other SPDK application has claimed one.

    Raises:
        BadInputError: a CPU that is not online.
        TargetError: which CPU is claimed, and by whom.
    """
    system = system or SYSTEM
    online = (system / "sys/devices/system/cpu/online").read_text(encoding="ascii").strip()
    absent = sorted(set(cpus) - set(parse_cpu_list(online)))
    if absent:
        wanted = ", ".join(map(str, absent))
        raise BadInputError(f"{name}: cpus {wanted}: the host has CPUs {online}")
    for cpu in cpus:
        holder = _lock_holder(system / _LOCKS / f"spdk_cpu_lock_{cpu:03d}")
        if holder is not None:
            raise TargetError(
                f"{name}: CPU {cpu} is claimed by another SPDK application, {describe(holder)}; "
                "end it or choose other cpus"
            )


def _lock_holder(path: Path) -> Optional[int]:
    """Return who holds a core's lock; None when the file is stale or not there."""
    try:
        with path.open("rb") as file:
            asked = _FLOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0)
            kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
            if kind == fcntl.F_UNLCK:
                return None
            # A holder in another pid namespace has no number here: then the one that it wrote.
            written = file.read(4)
            return int(pid) or (int.from_bytes(written, "little") if len(written) == 4 else 0)  # noqa: PLR2004
    except FileNotFoundError:
        return None


def left_behind(program: str, pid: int) -> tuple[str, ...]:
    """Return the paths outside of a run directory that an application leaves, by its pid.

    ``program``: path of nvmf_tgt or vhost.
    """
    application = Path(program).name.partition("_")[0]
    return str(SYSTEM / _TRACE.format(application, pid)), str(SYSTEM / _RUNTIME.format(pid))


def require_hugepages(name: str, memory_mib: int, system: Optional[Path] = None) -> None:
    """Return when so much memory in hugepages is free, and mounted.

    Raises:
        TargetError: how much there is, how much is wanted, and the command for that.
    """
    system = system or SYSTEM
    free = free_mib(system)
    mounted = {mount.page_size_kib for mount in read_mounts(system)}
    usable = sum(mib for size_kib, mib in free.items() if size_kib in mounted)
    if usable >= memory_mib:
        return
    total = sum(free.values())
    if total < memory_mib:
        size_kib = default_size_kib(system)
        missing = -(-(memory_mib - total) * 1024 // size_kib)
        # The sysctl sets all there shall be: a smaller number would take pages from their users.
        wanted = present_pages(size_kib, system) + missing
        raise TargetError(
            f"{name}: SPDK needs {memory_mib} MiB of hugepages, {total} MiB are free; reserve "
            f"{missing} more pages of {size_kib} KiB: {wanted} in all, with role hugepages or "
            f"sysctl vm.nr_hugepages={wanted}"
        )
    unusable = sorted(size for size in set(free) - mounted if free[size])
    sizes = ", ".join(f"{size} KiB" for size in unusable)
    raise TargetError(
        f"{name}: {total} MiB of hugepages are free, but no hugetlbfs is mounted for those of "
        f"{sizes}: mount -t hugetlbfs nodev /dev/hugepages"
    )
