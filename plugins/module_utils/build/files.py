# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by URL, known by their checksum: fetched once, checked always, unpacked with care."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.build import mirrors
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    NotCachedError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.locks import locked

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline

_CHUNK_BYTES = 1 << 20
_STALL_S = 60.0


@dataclass(frozen=True)
class CachedFile:
    """A file that was, or will be, fetched from ``place`` for the canonical ``url``."""

    folder: Path  # of all caches
    url: str
    place: str
    sha256: str
    deadline: Deadline

    @property
    def path(self) -> Path:
        """Where it lies once it was fetched."""
        return self.folder / f"{self.sha256}.file"

    @property
    def where(self) -> str:
        """URL and mirror for messages."""
        url, place = mirrors.redacted(self.url), mirrors.redacted(self.place)
        return url if url == place else f"{url} (mirror {place})"

    def is_here(self) -> bool:
        """Whether it can be had without a network."""
        return self.path.is_file() or (self._is_local and mirrors.local_path(self.place).is_file())

    def obtain(self, *, offline: bool = False) -> Path:
        """The path of the whole, checked file.

        Raises:
            NotCachedError: it would have to be fetched, and ``offline`` forbids that.
            BuildError: it cannot be reached, or is another file than was asked for.
        """
        if self.path.is_file():
            return self.path
        if offline and not mirrors.is_local(self.place):
            raise NotCachedError(
                f"{self.where} is not in the cache ({self.path}), and offline forbids to fetch it;"
                " run once with offline: false, or copy that file from another host"
            )
        lock = self.path.with_suffix(".lock")
        with locked(lock, deadline=self.deadline, doing=f"fetching {self.where}"):
            if not self.path.is_file():
                self._fetch()
        return self.path

    def _fetch(self) -> None:
        part = self.path.with_suffix(".part")
        try:
            found = self._copy_to(part)
            if found != self.sha256:
                raise BuildError(
                    f"{self.where}: found sha256 {found}, wanted {self.sha256}; the file was not"
                    " kept: correct the checksum, or the source"
                )
            part.replace(self.path)
        except (OSError, ValueError) as error:
            reason = _reason(error)
            raise BuildError(
                f"{self.where} cannot be fetched: {reason}; give a reachable copy in mirrors"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _copy_to(self, part: Path) -> str:
        digest = hashlib.sha256()
        url = mirrors.local_path(self.place).as_uri() if self._is_local else self.place
        with contextlib.ExitStack() as stack:
            # Any scheme is welcome: a file on the lab host is a source like others.
            source = stack.enter_context(urllib.request.urlopen(url, timeout=_STALL_S))  # noqa: S310
            target = stack.enter_context(part.open("wb"))
            while chunk := source.read(_CHUNK_BYTES):
                self.deadline.left_s(f"fetching {self.where}")
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    @property
    def _is_local(self) -> bool:
        return mirrors.is_local(self.place)


def _reason(error: Exception) -> str:
    """Why a file could not be fetched, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP status {error.code}"
    inner = getattr(error, "reason", None)
    return str(getattr(inner or error, "strerror", None) or inner or error)


def sha256_of(path: Path) -> str:
    """The checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def unpack_source(path: Path, sha256: str, folder: Path, what: str) -> None:
    """Unpack a tarball below ``folder``, without the one folder that most of them begin with.

    Raises:
        BuildError: the file rotted in the cache, is no tarball, or reaches out of ``folder``.
    """
    if sha256_of(path) != sha256:
        path.unlink()
        raise BuildError(f"{what}: its copy {path} was damaged and is removed; run again")
    try:
        with tarfile.open(path) as tar:
            extract_all(tar, folder, what)
    except tarfile.TarError as error:
        raise BuildError(f"{what}: not a tar archive ({error})") from error
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        _lift(entries[0], folder)


def extract_all(
    tar: tarfile.TarFile, folder: Path, what: str, *, links_checked: bool = True
) -> None:
    """Unpack everything below ``folder``; owners and set-id bits are not taken over.

    ``links_checked`` false lets symbolic links lead anywhere, as those of an installation may.

    Python's own filter for that came with security updates (PEP 706) and may be absent on a lab
    host, so the members are looked at here.
    """
    members = tar.getmembers()
    for member in members:
        if _leads_out(member) and (links_checked or not member.issym()):
            raise BuildError(f"{what}: {member.name} leads out of the archive; nothing was kept")
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = (member.mode & 0o755) | (0o700 if member.isdir() else 0o600)
    if hasattr(tarfile, "fully_trusted_filter"):
        # Said aloud, for the default of newer Pythons makes links of builds unusable.
        tar.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
    tar.extractall(folder, members)  # noqa: S202 looked at above


def _leads_out(member: tarfile.TarInfo) -> bool:
    """Whether a member would be written, or lead, elsewhere; a device counts as elsewhere."""
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return True
    places = [member.name]
    if member.islnk():
        places.append(member.linkname)
    if member.issym():
        places.append(str(Path(member.name).parent / member.linkname))
    return any(_depth(place) < 0 for place in places)


def _depth(place: str) -> int:
    """The least depth that a path reaches on its way down; below 0 outside of its root."""
    if place.startswith("/"):
        return -1
    depth = least = 0
    for word in place.split("/"):
        depth += -1 if word == ".." else 0 if word in {"", "."} else 1
        least = min(least, depth)
    return least


def _lift(inner: Path, folder: Path) -> None:
    """Move what is in the only folder one level up; it may hold something of its own name."""
    aside = inner.rename(folder.with_name(f"{folder.name}.inner"))
    folder.rmdir()
    shutil.move(str(aside), str(folder))
