# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make hugepages reachable: a hugetlbfs mount for each page size, and the memlock limits.

Reserved pages alone are of no use to SPDK ("reserved, but no mounted hugetlbfs found for that
size"). A mount that is there already is used; ours has a mount point of its own, so that it can
be told from others and taken away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_text
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.commands import output
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import PAGE_SIZES_KIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OWNER = "# Written by the role nvmelab.bench.hugepages, which removes it with state absent."
SOURCE = "nvmelab_hugepages"
LIMITS_FILE = "etc/security/limits.d/90-nvmelab.conf"
UNIT_FOLDER = "etc/systemd/system"
_KIB = {"K": 1, "M": 1024, "G": 1048576}
# A user, @group, %group, * or a range of ids, as limits.conf(5) has them.
_DOMAIN = re.compile(r"[@%]?[A-Za-z0-9_.*:$-]+")
_COMMAND_S = 60


class MountError(NvmelabError):
    """A hugetlbfs cannot be mounted or unmounted, or a file of ours is not ours."""


@dataclass(frozen=True)
class Mount:
    """One hugetlbfs that is mounted."""

    point: str
    page_size_kib: int
    is_writable: bool


def mounts(mountinfo: str, default_kib: int = 2048) -> list[Mount]:
    """Return the hugetlbfs mounts of a text like /proc/self/mountinfo.

    Args:
        mountinfo: see proc(5); the page size stands in the options of the file system, as 1024M
            for 1 GiB.
        default_kib: page size of a mount that names none.
    """
    found = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        words, file_system = fields.split(), rest.split()
        if file_system[:1] != ["hugetlbfs"]:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4])
        size = re.search(r"(?:^|,)pagesize=(\d+)([KMG])", file_system[-1])
        size_kib = int(size[1]) * _KIB[size[2]] if size else default_kib
        options = {*words[5].split(","), *file_system[-1].split(",")}
        found.append(Mount(point, size_kib, "ro" not in options))
    return found


def read_mounts(system: Path) -> list[Mount]:
    """Return the hugetlbfs mounts that this process sees."""
    text = (system / "proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return mounts(text, default_size_kib(system))


def default_size_kib(system: Path) -> int:
    """Return the size of the pages that vm.nr_hugepages counts, and a mount without a size has."""
    meminfo = (system / "proc/meminfo").read_text(encoding="ascii")
    size = re.search(r"^Hugepagesize:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(size[1]) if size else 2048


def usable(found: Iterable[Mount], page_size: str) -> Optional[str]:
    """Return where pages of this size can be had, or None."""
    size_kib = PAGE_SIZES_KIB[page_size]
    points = [m.point for m in found if m.page_size_kib == size_kib and m.is_writable]
    return points[0] if points else None


@dataclass(frozen=True)
class OwnMount:
    """Our mount of one page size; its name needs no escaping as a systemd unit."""

    system: Path
    page_size: str

    @property
    def point(self) -> Path:
        """Where it is, below the root directory."""
        return self.system / "dev" / f"{SOURCE}_{self.page_size}"

    @property
    def unit(self) -> Path:
        """The file of its systemd unit."""
        return self.system / UNIT_FOLDER / f"dev-{SOURCE}_{self.page_size}.mount"

    @property
    def is_mounted(self) -> bool:
        """Whether the kernel has it."""
        return any(mount.point == str(self.point) for mount in read_mounts(self.system))

    @property
    def is_there(self) -> bool:
        """Whether anything of it is."""
        return self.is_mounted or self.unit.exists() or self.point.exists()

    @property
    def is_complete(self) -> bool:
        """Whether it is as :meth:`mount` leaves it."""
        if not systemd_runs(self.system):
            return self.is_mounted
        return self.is_mounted and _text(self.unit) == unit_text(self.page_size)

    def mount(self) -> None:
        """Mount it, by a systemd unit where systemd runs, so that it is there after a reboot.

        Raises:
            MountError: a command fails, or it is not mounted afterwards.
        """
        if systemd_runs(self.system):
            write_text(self.unit, unit_text(self.page_size))
            _run("systemctl", "daemon-reload")
            _run("systemctl", "enable", "--now", self.unit.name)
        else:
            self.point.mkdir(mode=0o755, exist_ok=True)
            options = f"pagesize={self.page_size}"
            _run("mount", "-t", "hugetlbfs", "-o", options, SOURCE, str(self.point))
        if not self.is_mounted:
            raise MountError(
                f"{self.point}: found nothing mounted after a mount without error, wanted "
                f"hugetlbfs; next: see systemctl status {self.unit.name}"
            )

    def unmount(self) -> None:
        """Take it away with its unit and its mount point.

        Raises:
            MountError: it is busy.
        """
        if self.is_mounted:
            _run("umount", str(self.point), advice=_BUSY)
        if self.unit.exists():
            if systemd_runs(self.system):
                _run("systemctl", "disable", "--now", self.unit.name)
            self.unit.unlink()
            if systemd_runs(self.system):
                _run("systemctl", "daemon-reload")
        if self.point.exists():
            self.point.rmdir()


_BUSY = "next: stop the guests and storage targets that use its pages, then run this again"


def systemd_runs(system: Path) -> bool:
    """Whether systemd is the init of this host; see sd_booted(3)."""
    return (system / "run/systemd/system").is_dir()


def unit_text(page_size: str) -> str:
    """Return the mount unit, which is started as early as systemd's own dev-hugepages.mount."""
    return f"""{OWNER}
[Unit]
Description=Hugepages of {page_size} for nvmelab
DefaultDependencies=no
Before=sysinit.target

[Mount]
What={SOURCE}
Where=/dev/{SOURCE}_{page_size}
Type=hugetlbfs
Options=pagesize={page_size}

[Install]
WantedBy=sysinit.target
"""


def plan_mounts(
    system: Path, page_sizes: Iterable[str]
) -> tuple[list[OwnMount], list[OwnMount], dict[str, str]]:
    """Return mounts of ours to make, those to take away, and where each page size will be found.

    A size that somebody else has mounted gets none of ours.
    """
    found, wanted = read_mounts(system), set(page_sizes)
    make, take, points = [], [], {}
    for page_size in sorted(PAGE_SIZES_KIB):
        own = OwnMount(system, page_size)
        if page_size not in wanted:
            take += [own] if own.is_there else []
            continue
        others = usable([mount for mount in found if mount.point != str(own.point)], page_size)
        if others is None or own.is_there:
            make += [] if own.is_complete else [own]
        points[page_size] = others or str(own.point)
    return make, take, points


def limits_text(domains: Sequence[str], limit_kib: Optional[int]) -> str:
    """Return the drop-in that lets these users lock memory; empty for none.

    Args:
        domains: users, ``@group`` or ``*``. Root is not among ``*``: see limits.conf(5).
        limit_kib: None for unlimited.

    Raises:
        BadInputError: a word that limits.conf would read otherwise, a limit below 0.
    """
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise BadInputError(
                f"memlock_domains: found {domain!r}, wanted a user, @group or *, without blanks"
            )
    if limit_kib is not None and limit_kib < 0:
        raise BadInputError(f"memlock_kib: found {limit_kib}, wanted 0 or more")
    limit = "unlimited" if limit_kib is None else str(limit_kib)
    lines = [f"{domain} - memlock {limit}\n" for domain in domains]
    return "".join([f"{OWNER}\n", *lines]) if lines else ""


def limits_now(system: Path) -> str:
    """Return the drop-in that is there; empty for none.

    Raises:
        MountError: there is one that somebody else wrote.
    """
    path = system / LIMITS_FILE
    text = _text(path)
    if text and not text.startswith(OWNER):
        raise MountError(
            f"{path}: found a file that is not ours, wanted none, or one that begins with "
            f"{OWNER!r}; next: move it to another name"
        )
    return text


def write_limits(system: Path, text: str) -> None:
    """Write the drop-in, or remove it when the text is empty."""
    path = system / LIMITS_FILE
    if text:
        write_text(path, text)
    else:
        path.unlink(missing_ok=True)


def absent_folders(paths: Iterable[Path]) -> list[str]:
    """Return the folders that must be made before these files can be written, outermost first."""
    absent = {str(folder) for path in paths for folder in path.parents if not folder.exists()}
    return sorted(absent, key=len)


def make_folders(folders: Iterable[str]) -> None:
    """Make them, outermost first; those that are there already stay as they are."""
    for folder in folders:
        Path(folder).mkdir(mode=0o755, exist_ok=True)


def remove_folders(folders: Sequence[str]) -> None:
    """Remove those that are empty, innermost first; others have become somebody else's too."""
    for folder in map(Path, reversed(folders)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _run(*argv: str, advice: str = "") -> None:
    output(argv, error=MountError, deadline_s=_COMMAND_S, advice=advice)
