# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody listens at a unix socket's path, and who; a stale one is removed where it may.

First by the kernel's list, which disturbs nobody. Only a socket that is not in it, and may belong
to another network namespace, is connected to.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import check_socket_path

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_CONNECT_S = 1.0
# A killed process shows no descriptors any more while its last threads still hold them.
_DYING_S = 1.0


class SocketInUseError(NvmelabError):
    """Something is at the path that may not be removed."""


def require_usable(
    path: Path, *, removable: bool, check_mode: bool = False, wanted_by: str
) -> None:
    """Return when nothing is at ``path``; a stale socket there is removed if it may be.

    Raises:
        SocketInUseError: who listens there, or that it is stale and not ours to remove.
        QmpError: the path is too long for a socket.
    """
    check_socket_path(path)
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_socket():
        raise SocketInUseError(f"{wanted_by}: {path} is there and is no socket; remove it")
    holder = listener(path)
    if holder is not None:
        raise SocketInUseError(f"{wanted_by}: {path} is in use by {holder}; end it first")
    if not removable:
        raise SocketInUseError(
            f"{wanted_by}: {path} is a stale socket, nobody listens there; remove it: rm {path}"
        )
    if not check_mode:
        path.unlink()


def listener(path: Path) -> Optional[str]:
    """Return who listens at a socket, such as ``nvmf_tgt (pid 12)``; None when nobody does."""
    end = time.monotonic() + _DYING_S
    while (inode := _inode(path)) is not None:
        owner = _owner(inode)
        if owner is not None:
            return owner
        if time.monotonic() >= end:
            return "a process that cannot be seen from here"
        time.sleep(0.02)
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.settimeout(_CONNECT_S)
        probe.connect(str(path))
        return describe(peer_pid(probe))
    return None


def peer_pid(connected: socket.socket) -> int:
    """Return the process that listened at the other end; 0 when it is out of sight."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid


def describe(pid: int) -> str:
    """Return a process by name and number; not by a thread's name, as SPDK calls itself."""
    argv = b""
    with contextlib.suppress(OSError):
        argv = Path("/proc", str(pid), "cmdline").read_bytes()
    name = os.path.basename(os.fsdecode(argv.partition(b"\0")[0]))  # noqa: PTH119 (any bytes)
    return f"{name or 'a process'} (pid {pid})"


def _inode(path: Path) -> Optional[str]:
    text = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    match = re.search(rf" (\d+) {re.escape(str(path))}$", text, re.MULTILINE)
    return match[1] if match else None


def _owner(inode: str) -> Optional[str]:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == f"socket:[{inode}]":  # noqa: PTH115 (a name, not a path)
                return describe(int(link.parts[2]))
    return None
