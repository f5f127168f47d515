# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab host as SPDK's needs are looked for on it: hugepages, their mount, the claims on CPUs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.target import spdk_host

PAGES = "sys/kernel/mm/hugepages/hugepages-{}kB"
MOUNT = "36 25 0:30 / /dev/hugepages rw,relatime - hugetlbfs none rw,pagesize={}\n"
# Ends when nobody holds its input open any more.
CLAIM = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("claimed", flush=True)
sys.stdin.read()
"""


@dataclass
class FakeSpdkHost:
    """CPUs 0 to 3, and 64 GiB of free pages of 2 MiB that are mounted, until told otherwise."""

    root: Path

    def __post_init__(self) -> None:
        """Lay it out."""
        self.put("sys/devices/system/cpu/online", "0-3\n")
        self.put("proc/meminfo", "Hugepagesize:       2048 kB\n")
        self.pages(free=32768)
        self.mounted("2M")

    def put(self, name: str, text: str) -> Path:
        """Write a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def pages(self, free: int, *, promised: int = 0, used: int = 0, size_kib: int = 2048) -> None:
        """Have so many pages of a size."""
        counts = {"nr": free + used, "free": free, "resv": promised}
        for which, count in counts.items():
            self.put(f"{PAGES.format(size_kib)}/{which}_hugepages", f"{count}\n")

    def mounted(self, page_size: str | None) -> None:
        """Have a hugetlbfs of one page size, or none."""
        other = "36 25 0:31 / /tmp rw - tmpfs tmpfs rw\n"
        self.put("proc/self/mountinfo", MOUNT.format(page_size) if page_size else other)

    def lock(self, cpu: int) -> Path:
        """Return the file by which an SPDK application claims a CPU; nobody holds it."""
        return self.put(f"var/tmp/spdk_cpu_lock_{cpu:03d}", "")

    @contextmanager
    def claimed(self, cpu: int) -> Iterator[int]:
        """Have a CPU claimed by another process, whose pid this is."""
        argv = [sys.executable, "-S", "-c", CLAIM, str(self.lock(cpu))]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"claimed\n"
            yield holder.pid
            holder.communicate()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeSpdkHost:
        """Let it be the host that targets and clients are started on."""
        monkeypatch.setattr(spdk_host, "SYSTEM", self.root)
        return self
