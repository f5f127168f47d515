# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device's data lives on: a file in RAM, a file on disk, or nothing at all.

The files belong to one run directory: those in RAM lie in a tmpfs folder named after it. They
are made before a process opens them and removed when it has ended, so that a full disk is an
error at the start and not a guest that hangs.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_KINDS = ("ram", "raw-file")
KINDS = ("null-co", *FILE_KINDS)
# What SPDK serves from, and how SPDK itself calls it.
BDEVS = {"bdev_null": "null", "bdev_malloc": "malloc", "bdev_nvme": "nvme"}
MIB = 1 << 20
_FILL_BYTES = 4 * MIB
TMPFS = "/dev/shm"  # noqa: S108 a tmpfs is what is wanted; the folder in it is ours alone


class BackendError(NvmelabError):
    """No space, no memory, or a file that cannot be made."""


@dataclass(frozen=True)
class Backend:
    """One backend, ready to be opened."""

    kind: str  # one of KINDS
    size_bytes: int
    path: Optional[str] = None  # None for null-co
    direct: bool = False  # whether the file system takes O_DIRECT
    aio: str = "threads"

    def blockdev(self, node: str) -> str:
        """Return the ``-blockdev``/``--blockdev`` argument that opens it as ``node``.

        ``null-co`` fills the buffers with zeros, so that a read touches the guest's memory as
        every other backend's does. A file is opened past the page cache where that is possible,
        for else the page cache would be measured.
        """
        if self.path is None:
            return f"driver=null-co,node-name={node},size={self.size_bytes},read-zeroes=on"
        direct = "on" if self.direct else "off"
        return (
            f"driver=raw,node-name={node},file.driver=file,file.aio={self.aio},"
            f"file.filename={self.path.replace(',', ',,')},file.discard=unmap,"
            f"cache.direct={direct},file.cache.direct={direct}"
        )


def create(spec: Mapping[str, Any], *, name: str, directory: Path) -> Backend:
    """Return the backend of a plan's ``{"kind", "size_mib"}``, its file made in whole.

    ``ram``: ``/dev/shm/nvmelab-<name of the run directory>/<name>.raw``;
    ``raw-file``: ``<run directory>/backends/<name>.raw``, written from end to end. Space that
    is only allocated would be read without asking the disk.

    Raises:
        BadInputError: an unknown kind or a size that is not a positive number.
        BackendError: not enough memory or disk space, or the file exists and is not ours.
    """
    kind, size_mib = spec.get("kind"), spec.get("size_mib")
    if kind not in KINDS:
        raise BadInputError(f"{name}: backend kind {kind!r}: wanted one of {', '.join(KINDS)}")
    if not isinstance(size_mib, int) or isinstance(size_mib, bool) or size_mib < 1:
        raise BadInputError(f"{name}: backend size_mib {size_mib!r}: wanted a number from 1 on")
    size = size_mib * MIB
    if kind == "null-co":
        return Backend("null-co", size)
    if kind == "ram":
        _require_memory(name, size)
    folder = _ram_folder(directory) if kind == "ram" else directory / "backends"
    path = folder / f"{name}.raw"
    _make_file(path, size, name, filled=kind == "raw-file")
    direct = kind == "raw-file" and _takes_direct(path)
    aio = str(spec.get("aio") or ("native" if direct else "threads"))
    return Backend(str(kind), size, str(path), direct=direct, aio=aio)


def remove(backend: Backend) -> None:
    """Remove a backend's file, and its folder when that was the last one."""
    if backend.path is not None:
        _remove_file(Path(backend.path))


def _remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def remove_all(directory: Path) -> None:
    """Remove all backend files of a run directory, such as a killed session leaves behind."""
    for folder in (_ram_folder(directory), directory / "backends"):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def _ram_folder(directory: Path) -> Path:
    return Path(TMPFS) / f"nvmelab-{directory.name}"


def _require_memory(name: str, size: int) -> None:
    """Refuse before the kernel's out-of-memory killer picks a victim."""
    free = available_memory_bytes()
    if size > free:
        raise BackendError(
            f"{name}: a RAM backend of {size // MIB} MiB does not fit: {free // MIB} MiB of "
            "memory are available; choose a smaller size_mib"
        )


def available_memory_bytes() -> int:
    """Return what the kernel says can be used without swapping (MemAvailable)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise BackendError("/proc/meminfo has no line MemAvailable")


def _make_file(path: Path, size: int, name: str, *, filled: bool) -> None:
    """Make a file whose every block exists, or leave nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = path.parent.stat().st_uid
    if path.parent.is_symlink() or owner != os.geteuid():
        raise BackendError(f"{path.parent}: not our folder (owner {owner}); remove it first")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
        if filled:
            _fill(path, size)
    except OSError as error:
        message = _no_space(path, size, name, error)
        _remove_file(path)
        raise BackendError(message) from error


def _fill(path: Path, size: int) -> None:
    """Write all of a file past the page cache, with bytes that do not compress."""
    flags = os.O_WRONLY | (os.O_DIRECT if _takes_direct(path) else 0)
    descriptor = os.open(path, flags)
    try:
        # O_DIRECT wants an aligned buffer; an anonymous map begins at a page.
        with mmap.mmap(-1, _FILL_BYTES) as chunk:
            chunk.write(os.urandom(_FILL_BYTES))
            for offset in range(0, size, _FILL_BYTES):
                # A size is whole MiB, hence whole blocks, also at the end.
                with memoryview(chunk) as view, view[: min(_FILL_BYTES, size - offset)] as part:
                    os.pwrite(descriptor, part, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_space(path: Path, size: int, name: str, error: OSError) -> str:
    if error.errno not in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}:
        return f"{name}: {path} cannot be made: {error.strerror}"
    free = shutil.disk_usage(path.parent).free
    return (
        f"{name}: no space for a file of {size // MIB} MiB: the file system of {path.parent} has "
        f"{free // MIB} MiB free; choose a smaller size_mib or another nvmelab_root"
    )


def _takes_direct(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    return True
