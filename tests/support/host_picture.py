# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything on a lab host that a role could have changed, seen from outside of it."""

from __future__ import annotations

import os
from pathlib import Path

# What a host, or Ansible's connection to it, changes by itself. Kernel files change at will; a
# role writes to the fakes over them, which are files like others.
BUSY = {
    "/dev/pts",
    "/proc",
    "/root/.ansible",
    "/run/log",
    "/run/sshd.pid",
    "/run/systemd",
    "/run/udev",
    "/run/user",
    "/run/utmp",
    "/sys",
    "/var/lib/systemd",
    "/var/log",
}
# Processes that come and go with Ansible's connection and with time.
COMING_AND_GOING = {"sshd", "sftp-server", "systemd", "(sd-pam)"}

Picture = dict[str, tuple[object, ...]]


def picture(nspawn_pid: int) -> Picture:
    """Facts by name: files with mode, owner, size, time and link; mounts; processes."""
    pids = _descendants(nspawn_pid)
    root = Path(f"/proc/{pids[1]}/root")  # of the host's init
    found = _files(root)
    mounts = Path(f"/proc/{pids[1]}/mountinfo").read_text(encoding="utf-8")
    found.update({f"mount {line.split(' ', 1)[1]}": () for line in mounts.splitlines()})
    names = {Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() for pid in pids[1:]}
    found.update({f"process {name}": () for name in names - COMING_AND_GOING})
    return found


def changes(before: Picture, after: Picture) -> list[str]:
    """The names of what is new, gone or different."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]


def _descendants(pid: int) -> list[int]:
    """A process and those below it, parents first; one that ends meanwhile is left out."""
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in tasks.read_text(encoding="utf-8").split()]
            except ProcessLookupError:
                continue
    return [one for one in found if Path(f"/proc/{one}/comm").exists()]


def _files(root: Path) -> Picture:
    found: Picture = {}
    for folder, folders, files in os.walk(root):
        inside = f"/{os.path.relpath(folder, root)}".replace("/.", "", 1)
        folders[:] = [name for name in folders if f"{inside}/{name}" not in BUSY]
        for name in (*folders, *files):
            path, place = Path(folder, name), f"{inside}/{name}"
            if place in BUSY:
                continue
            status = path.lstat()
            facts: tuple[object, ...] = (status.st_mode, status.st_uid, status.st_gid)
            if not path.is_dir() or path.is_symlink():
                facts += (status.st_size, status.st_mtime_ns)
            found[place] = (*facts, path.readlink() if path.is_symlink() else None)
    return found
