# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel's hugepages in a folder: files as in sysfs, and what a write to them does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import Counts, Pool

STUB = """#!/bin/sh
# Stands for mount, umount and systemctl: keeps the fake mountinfo, and counts its calls.
root=@ROOT@
mounts=$root/proc/self/mountinfo
echo "$(basename "$0") $*" >> $root/calls
add() { echo "30 1 0:26 / $1 rw,relatime - hugetlbfs none rw,pagesize=$2" >> $mounts; }
drop() { grep -v " $1 " $mounts > $mounts.new; mv $mounts.new $mounts; }
case "$(basename "$0") $1 $2" in
  "mount -t hugetlbfs") add "$6" "${4#pagesize=}" ;;
  "umount "*)
    [ ! -e $root/busy ] || { echo "umount: $1: target is busy." >&2; exit 32; }
    drop "$1" ;;
  "systemctl enable --now") size=${3##*_}; size=${size%.mount}
    mkdir -p $root/dev/nvmelab_hugepages_$size; add $root/dev/nvmelab_hugepages_$size $size ;;
  *) ;;
esac
"""


@dataclass
class FakeKernel:
    """Behaves as mm/hugetlb.c does on writes; ``room`` is where it runs out of memory."""

    root: Path
    pools: dict[Pool, Counts]
    room: dict[Pool, int] = field(default_factory=dict)  # most pages of a pool; absent: no limit
    gain: int = 0  # what each compaction adds to every room
    writes: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, text in {
            "proc/sys/vm/compact_memory": "",
            "proc/sys/kernel/random/boot_id": "boot-1\n",
            "proc/self/mountinfo": "22 1 0:20 / / rw - ext4 /dev/vda rw\n",
            "proc/meminfo": "MemAvailable: 16777216 kB\nHugepagesize:       2048 kB\n",
            "proc/cpuinfo": "flags\t\t: fpu sse2\n",
        }.items():
            self.write(name, text)
        for folder in ("etc/security", "etc/systemd/system", "dev"):
            (self.root / folder).mkdir(parents=True)
        self.publish()

    def write(self, name: str, text: str) -> None:
        """Put a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def publish(self) -> None:
        """Bring the files up to date."""
        for pool, counts in self.pools.items():
            everywhere = Pool(pool.page_size, hugepages.NO_NODE).file(self.root).parent
            for folder in (everywhere, pool.file(self.root).parent):
                name = str(folder.relative_to(self.root))
                self.write(f"{name}/nr_hugepages", f"{counts.total}\n")
                self.write(f"{name}/free_hugepages", f"{counts.free}\n")
                self.write(f"{name}/surplus_hugepages", f"{counts.surplus}\n")
            self.write(
                str(everywhere.relative_to(self.root) / "resv_hugepages"), f"{counts.promised}\n"
            )

    def written(self, path: Path, number: int) -> None:
        """What replaces hugepages.write_number."""
        self.writes.append((str(path.relative_to(self.root)), number))
        if path.name == "compact_memory":
            self.room = {pool: most + self.gain for pool, most in self.room.items()}
            return
        pool = next(pool for pool in self.pools if pool.file(self.root) == path)
        counts = self.pools[pool]
        total, free, surplus = counts.total, counts.free, counts.surplus
        while surplus and number > total - surplus:
            surplus -= 1
        while number > total - surplus and total < self.room.get(pool, 1 << 30):
            total, free = total + 1, free + 1
        while max(number, counts.promised + total - free) < total - surplus:
            total, free = total - 1, free - 1
        while number < total - surplus:
            surplus += 1
        self.pools[pool] = Counts(total, free, surplus, counts.promised)
        self.publish()

    def use(self, pool: Pool, pages: int) -> None:
        """Have somebody take free pages; give them back when negative."""
        counts = self.pools[pool]
        assert pages <= counts.free
        # A page that comes back ends a surplus one before it is free again.
        ended = min(max(0, -pages), counts.surplus)
        self.pools[pool] = Counts(
            counts.total - ended,
            counts.free - pages - ended,
            counts.surplus - ended,
            counts.promised,
        )
        self.publish()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
        """Take the place of the kernel and of the commands that mount."""
        monkeypatch.setattr(hugepages, "write_number", self.written)
        folder = self.root / "bin"
        folder.mkdir()
        for name in ("mount", "umount", "systemctl"):
            (folder / name).write_text(STUB.replace("@ROOT@", str(self.root)))
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        return self

    def calls(self) -> list[str]:
        """The commands so far."""
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def picture(self) -> dict[str, str]:
        """All files below the root but those of the fake itself, to compare."""
        own = {self.root / "calls", *self.root.glob("bin/*")}
        return {
            str(path.relative_to(self.root)): path.read_text() if path.is_file() else "folder"
            for path in self.root.rglob("*")
            if path not in own
        }
