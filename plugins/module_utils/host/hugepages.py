# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reserve hugepages per NUMA node, leave those of others alone, and put the counts back.

A wish is for pages that are free for us: they come on top of those in use when they were first
wished for. That first state is the record; nothing is ever shrunk below it, nor below what is in
use now, and undoing restores it.

Source: Linux Documentation/admin-guide/mm/hugetlbpage.rst; mm/hugetlb.c set_max_huge_pages(),
where nr_hugepages reads with the surplus pages and is written without them.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.kernel_files import (
    boot_id,
    write_kernel_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

PAGE_SIZES_KIB = {"2M": 2048, "1G": 1048576}
NO_NODE = -1  # the only node of a kernel without NUMA
DEFAULT_TRY_COUNT = 5
RECORD_NAME = "hugepages.json"  # in the lab directory


class HugepagesError(NvmelabError):
    """Hugepages cannot be read, reserved or given back."""


@dataclass(frozen=True, order=True)
class Pool:
    """The pages of one size on one NUMA node."""

    page_size: str  # one of PAGE_SIZES_KIB
    node: int

    def __str__(self) -> str:
        place = "" if self.node == NO_NODE else f" on node {self.node}"
        return f"{self.page_size} pages{place}"

    def file(self, system: Path) -> Path:
        """The kernel's file of its count, below the root directory ``system``."""
        folder = system / "sys/kernel/mm"
        if self.node != NO_NODE:
            folder = system / f"sys/devices/system/node/node{self.node}"
        size_kib = PAGE_SIZES_KIB[self.page_size]
        return folder / "hugepages" / f"hugepages-{size_kib}kB" / "nr_hugepages"


@dataclass(frozen=True)
class Counts:
    """Pages of one pool; ``promised`` is of the whole host, for the kernel counts no other."""

    total: int  # nr_hugepages, surplus pages included
    free: int
    surplus: int  # beyond the reservation, they end with their use
    promised: int  # resv_hugepages: mapped, not yet touched, still among the free

    @property
    def reserved(self) -> int:
        """What nr_hugepages is written as."""
        return self.total - self.surplus

    @property
    def used(self) -> int:
        """In use, or promised and perhaps to be taken from here."""
        return self.total - self.free + min(self.promised, self.free)


State = dict[Pool, Counts]
Wishes = dict[Pool, int]


def read_state(system: Path) -> State:
    """Return the counts of every pool of 2 MiB and 1 GiB pages below ``system``.

    Raises:
        HugepagesError: a file is missing or holds no number.
    """
    state: State = {}
    for page_size, size_kib in PAGE_SIZES_KIB.items():
        everywhere = Pool(page_size, NO_NODE).file(system).parent
        if not everywhere.is_dir():
            continue
        promised = _number(everywhere / "resv_hugepages")
        pattern = f"sys/devices/system/node/node*/hugepages/hugepages-{size_kib}kB"
        nodes = [int(path.parent.parent.name[len("node") :]) for path in system.glob(pattern)]
        for pool in [Pool(page_size, node) for node in sorted(nodes) or [NO_NODE]]:
            folder = pool.file(system).parent
            state[pool] = Counts(
                total=_number(folder / "nr_hugepages"),
                free=_number(folder / "free_hugepages"),
                surplus=_number(folder / "surplus_hugepages"),
                promised=promised,
            )
    return state


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise HugepagesError(f"{path}: found {error}, wanted a number of pages") from error


def resolve(pages: Sequence[Mapping[str, Any]], state: State, system: Path) -> Wishes:
    """Return what is wished of each pool.

    Args:
        pages: ``page_size``, ``count`` and perhaps ``node`` each. Without a node the count is
            spread evenly over all nodes that have memory, the lowest get the remainder.
        state: what :func:`read_state` found.
        system: the root directory, to say what its CPU can.

    Raises:
        BadInputError: an absent page size or node, a negative count, a pool named twice.
    """
    wishes: Wishes = {}
    for item in pages:
        page_size, count, node = item["page_size"], item["count"], item.get("node")
        nodes = [pool.node for pool in sorted(state) if pool.page_size == page_size]
        if not nodes:
            raise BadInputError(_absent_size(page_size, system))
        if node is not None and node not in nodes:
            raise BadInputError(
                f"pages: {page_size}: found node {node}, wanted one of the host's nodes with "
                f"memory: {', '.join(str(n) for n in nodes if n != NO_NODE) or 'it has no NUMA'}"
            )
        if count < 0:
            raise BadInputError(f"pages: {page_size}: found count {count}, wanted 0 or more")
        share, rest = (count, 0) if node is not None else divmod(count, len(nodes))
        for index, each in enumerate(nodes if node is None else [node]):
            pool = Pool(page_size, each)
            if pool in wishes:
                raise BadInputError(
                    f"pages: found {pool} twice, wanted once; an entry without node means all nodes"
                )
            wishes[pool] = share + (1 if index < rest else 0)
    return wishes


def _absent_size(page_size: str, system: Path) -> str:
    size_kib = PAGE_SIZES_KIB[page_size]
    found = f"this kernel offers no {page_size} pages (/sys/kernel/mm/hugepages has no "
    found += f"hugepages-{size_kib}kB)"
    if page_size != "1G":
        return f"{found}; wanted a kernel with CONFIG_HUGETLBFS; next: boot another kernel"
    try:
        flags = (system / "proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    has = "has" if "pdpe1gb" in flags else "lacks"
    return (
        f"{found}; wanted the CPU flag pdpe1gb, which this host's /proc/cpuinfo {has}; next: ask "
        "for page_size 2M, or, if the host is a VM, start it with -cpu host or +pdpe1gb"
    )


@dataclass(frozen=True)
class Step:
    """One count to write, and the one that was found."""

    pool: Pool
    found: int
    write: int


def plan(now: State, before: State, wishes: Wishes) -> list[Step]:
    """Return what to write, shrinking first, for that makes room.

    Args:
        now: the counts.
        before: the counts before the first change, of every pool that was ever wished for; those
            that are no longer wished for go back to it.
        wishes: pages that shall be free for us.
    """
    steps = []
    for pool, first in before.items():
        if pool not in now:
            raise HugepagesError(f"{pool}: recorded before, not there now; next: reboot the host")
        wanted = first.reserved
        if wishes.get(pool):
            wanted = max(wanted, first.used + wishes[pool])
        write = max(wanted, min(_floor(now[pool], first), now[pool].reserved))
        if write != now[pool].reserved:
            steps.append(Step(pool, now[pool].reserved, write))
    return sorted(steps, key=lambda step: (step.write > step.found, step.pool))


def _floor(now: Counts, first: Counts) -> int:
    """Return how many pages must stay, lest the kernel turn pages in use into surplus.

    Which node a promise is kept on is not known. One from before ours can only be kept by pages
    that were here before; a newer one perhaps by any.
    """
    promised = min(first.promised, first.free) + max(0, now.promised - first.promised)
    return now.total - now.free + min(promised, now.free) - first.surplus


def rows(now: State, before: State, wishes: Wishes) -> list[dict[str, Any]]:
    """Return one row a pool in ``before``: what was wanted, got, is missing, and its counts."""
    table = []
    for pool, first in sorted(before.items()):
        wanted = wishes.get(pool, 0)
        got = max(0, min(wanted, now[pool].reserved - first.used))
        table.append(
            {
                "page_size": pool.page_size,
                "node": pool.node,
                "wanted": wanted,
                "got": got,
                "missing": wanted - got,
                "reserved": now[pool].reserved,
                "free": now[pool].free,
                "reserved_before": first.reserved,
            }
        )
    return table


def shortfall(
    table: Sequence[Mapping[str, Any]], args: Sequence[str], try_count: int
) -> Optional[str]:
    """Return what is missing and what to do about it, or None; ``table`` is from :func:`rows`."""
    short = [
        f"{Pool(row['page_size'], row['node'])}: got {row['got']} of {row['wanted']} wanted, "
        f"{row['missing']} missing"
        for row in table
        if row["missing"]
    ]
    if not short:
        return None
    return (
        f"{'; '.join(short)} after up to {try_count} tries with memory compacted between them. "
        "What was got stays reserved until state is absent. Next: reserve them at boot, give "
        f"role kernel_cmdline the arguments '{' '.join(args)}' and reboot"
    )


def left_over(table: Sequence[Mapping[str, Any]]) -> Optional[str]:
    """Return which counts are not as they were before the first change, or None."""
    other = [
        f"{Pool(row['page_size'], row['node'])}: found {row['reserved']} reserved "
        f"({row['free']} free), wanted {row['reserved_before']} as before"
        for row in table
        if row["reserved"] != row["reserved_before"]
    ]
    if not other:
        return None
    return (
        f"{'; '.join(other)}. Pages in use, or promised to a process, are not taken away. Next: "
        "stop the guests and storage targets that use them (files left in a hugetlbfs mount hold "
        "pages too), then run this again"
    )


def describe(state: State, pools: Iterable[Pool]) -> str:
    """Return a text of these pools, one a line, for a diff; what others use is left out."""
    return "".join(f"{pool}: {state[pool].reserved}\n" for pool in sorted(pools))


def expected(now: State, steps: Iterable[Step]) -> State:
    """Return the counts after these steps if the kernel grants all of them."""
    after = dict(now)
    for step in steps:
        old, more = now[step.pool], step.write - step.found
        after[step.pool] = replace(old, total=old.total + more, free=old.free + more)
    return after


def refuse_impossible(system: Path, steps: Sequence[Step]) -> None:
    """Return when these steps can be tried.

    Raises:
        HugepagesError: a count cannot be written, or there is less memory than the pages need.
    """
    for step in steps:
        path = step.pool.file(system)
        if not os.access(path, os.W_OK):
            raise HugepagesError(_not_writable(path))
    growing = [step for step in steps if step.write > step.found]
    need_kib = sum(
        (step.write - step.found) * PAGE_SIZES_KIB[step.pool.page_size] for step in growing
    )
    available_kib = _available_kib(system / "proc/meminfo")
    if growing and available_kib is not None and need_kib > available_kib:
        raise HugepagesError(
            f"{', '.join(str(step.pool) for step in growing)}: found {available_kib // 1024} MiB "
            f"available (MemAvailable), wanted {need_kib // 1024} MiB more in pages; next: ask for "
            "fewer pages or free memory"
        )


def _not_writable(path: Path) -> str:
    return (
        f"{path}: found read-only, wanted writable; next: become root, and if this is a container, "
        "reserve the pages on the machine that runs it: the kernel is shared"
    )


def _available_kib(meminfo: Path) -> Optional[int]:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None


def apply(system: Path, steps: Iterable[Step], *, try_count: int = DEFAULT_TRY_COUNT) -> None:
    """Write the counts and read them back; the kernel is asked again after compacting memory.

    Nothing but /proc/sys/vm/compact_memory is touched: caches are the measured host's own.
    That pages are still missing after ``try_count`` tries is for the caller to see.
    """
    for step in steps:
        for attempt in range(max(1, try_count)):
            if attempt and not _compact(system):
                break
            write_number(step.pool.file(system), step.write)
            if step.write < step.found or read_state(system)[step.pool].reserved >= step.write:
                break


def _compact(system: Path) -> bool:
    """Compact memory; whether this kernel, or this container, lets us."""
    try:
        write_number(system / "proc/sys/vm/compact_memory", 1)
    except HugepagesError:
        return False
    return True


def write_number(path: Path, number: int) -> None:
    """Write a number into a file of the kernel, which must be there.

    Raises:
        HugepagesError: the kernel refuses.
    """
    try:
        write_kernel_file(path, f"{number}\n")
    except OSError as error:
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            raise HugepagesError(_not_writable(path)) from error
        raise HugepagesError(f"{path}: {number} cannot be written: {error.strerror}") from error


def kernel_args(
    pages: Sequence[Mapping[str, Any]], default_page_size: Optional[str] = None
) -> list[str]:
    """Return the boot arguments that reserve these pages, in the order the kernel needs.

    ``hugepages=`` counts pages of the ``hugepagesz=`` before it, which may appear once a size.
    Counts per node (``hugepages=0:4,1:4``) need Linux 5.16.
    """
    args = [f"default_hugepagesz={default_page_size}"] if default_page_size else []
    for page_size in sorted(PAGE_SIZES_KIB):
        items = [item for item in pages if item["page_size"] == page_size and item["count"]]
        texts = [
            f"{item['count']}" if item.get("node") is None else f"{item['node']}:{item['count']}"
            for item in sorted(items, key=lambda item: item.get("node") or 0)
        ]
        if texts:
            args += [f"hugepagesz={page_size}", f"hugepages={','.join(texts)}"]
    return args


@dataclass(frozen=True)
class Record:
    """What was there before the first change; ``folders`` are those that had to be made.

    ``run_id`` is the run that reserved the pages; None for a user's own play.
    """

    boot_id: str
    before: State
    folders: tuple[str, ...] = ()
    run_id: Optional[str] = None

    def extended(self, now: State, wishes: Wishes, folders: Iterable[str]) -> Record:
        """Return it with what is new: pools wished for the first time, folders to be made."""
        fresh = {pool: now[pool] for pool in wishes if pool not in self.before}
        more = [folder for folder in folders if folder not in self.folders]
        return replace(self, before={**fresh, **self.before}, folders=(*self.folders, *more))

    def save(self, path: Path) -> None:
        """Write it, whole or not at all, to stay through a power cut."""
        before = [
            {**asdict(pool), **asdict(counts)} for pool, counts in sorted(self.before.items())
        ]
        content = {"boot_id": self.boot_id, "before": before, "folders": list(self.folders)}
        write_json(path, {"schema_version": 1, "run_id": self.run_id, **content})


def load_record(path: Path, system: Path) -> Record:
    """Return what was recorded, or an empty record.

    Counts from an earlier boot are left out: that reboot has put them back.

    Raises:
        HugepagesError: the file cannot be understood.
    """
    now = boot_id(system)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before = {
            Pool(item.pop("page_size"), item.pop("node")): Counts(**item)
            for item in content["before"]
        }
        folders = tuple(content["folders"])
        same_boot = content["boot_id"] == now
        run_id = content.get("run_id")
    except FileNotFoundError:
        return Record(now, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HugepagesError(
            f"{path}: found {error!r}, wanted the record of an earlier run; next: put the counts "
            "in /sys/kernel/mm/hugepages right by hand, then remove the file"
        ) from error
    return Record(now, before if same_boot else {}, folders, run_id)
