# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ended runs of a lab host → one archive each, for the control node to fetch."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import FileWriteError
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import directory as run_directory
from ansible_collections.nvmelab.bench.plugins.module_utils.run import leftovers
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

# What tells of a run; sockets, locks, leases and the executor's state are of no use elsewhere.
MEMBERS = ("manifest.json", "plan.json", "points", "raw", "logs")
# The cheapest level: fio's JSON shrinks to a tenth with it, and the lab host's time is dear.
COMPRESSION = 1
# A run directory without a manifest is somebody's that has just begun, when younger than this.
BEGINNING_S = 60.0


@dataclass
class Offer:
    """What a lab host has to give."""

    archives: list[dict[str, Any]] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)  # found dead, now with an end


def offer(root: Path, known: Mapping[str, Any], *, is_dry: bool = False) -> Offer:
    """Pack every ended run that is not known yet; the archives lie in ``<root>/outgoing``.

    Args:
        root: of nvmelab on this host.
        known: run_id → finished_at of what the control node has.
        is_dry: only say which runs would be packed.
    """
    found = Offer()
    for directory in RunDirectory.all(root):
        try:
            _add(found, root, directory, known, is_dry=is_dry)
        except FileWriteError:
            raise
        except NvmelabError as error:  # one broken run must not cost the others
            found.skipped.append({"run_id": directory.run_id, "reason": str(error)})
    return found


def remove(root: Path, *, is_dry: bool = False) -> bool:
    """Remove the archives, never the runs; whether there were any."""
    folder = root / "outgoing"
    was_there = folder.is_dir()
    if was_there and not is_dry:
        shutil.rmtree(folder)
    return was_there


def _add(
    found: Offer, root: Path, directory: RunDirectory, known: Mapping[str, Any], *, is_dry: bool
) -> None:
    if directory.is_live() or _is_beginning(directory):
        found.running.append(directory.run_id)
        return
    if not is_dry and leftovers.clean(directory, leftovers.KILLED):
        found.interrupted.append(directory.run_id)
    manifest = directory.manifest()
    if manifest is None:
        found.skipped.append({"run_id": directory.run_id, "reason": "no manifest, no plan"})
        return
    if directory.run_id in known and known[directory.run_id] == manifest["finished_at"]:
        return
    entry = {name: manifest[name] for name in ("run_id", "state", "finished_at")}
    found.archives.append({**entry, **({} if is_dry else pack(root, directory))})


def _is_beginning(directory: RunDirectory) -> bool:
    if directory.manifest_path.exists() or not directory.plan_path.exists():
        return False
    return time.time() - directory.plan_path.stat().st_mtime < BEGINNING_S


def pack(root: Path, directory: RunDirectory) -> dict[str, Any]:
    """Return path, sha256 and size of the run's archive; equal runs give equal bytes.

    Raises:
        FileWriteError: no space for it; no part of it stays.
    """
    folder = root / "outgoing"
    path = folder / f"{directory.run_id}.tar.gz"
    partial = folder / f".{directory.run_id}.partial"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with partial.open("wb") as file:
            _write(file, directory)
        partial.replace(path)
    except OSError as error:
        raise FileWriteError(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
    size = path.stat().st_size
    return {"path": str(path), "sha256": run_directory.sha256(path), "size_bytes": size}


def _write(file: IO[bytes], directory: RunDirectory) -> None:
    packed = gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in MEMBERS:
            place = directory.path / name
            if place.exists():
                archive.add(place, f"{directory.run_id}/{name}", filter=_plain)


def _plain(member: tarfile.TarInfo) -> Optional[tarfile.TarInfo]:
    """Return a member without what differs between hosts; only files and folders."""
    if not (member.isfile() or member.isdir()) or Path(member.name).name.startswith("."):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = int(member.mtime)
    member.mode = 0o755 if member.isdir() else 0o644
    return member
