# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes below this one: found in /proc, ended when the user wants to stop. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of grandchildren whose parent ends, so that none gets out of sight."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def end_all(*, deadline_s: float = 3.0) -> list[int]:
    """End every process below this one, TERM then KILL; return the pids that were there.

    An ssh connection kept open for later tasks is left alone: it serves nobody and ends itself.
    """
    found: set[int] = set()
    for number, wait_s in ((signal.SIGTERM, deadline_s), (signal.SIGKILL, 1.0)):
        deadline = time.monotonic() + wait_s
        for pid in (alive := _descendants()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        found.update(alive)
        while _descendants() and time.monotonic() < deadline:
            time.sleep(0.05)
    return sorted(found)


def _descendants() -> list[int]:
    """Return the living processes below this one, connections kept by ssh left out."""
    parents = dict(_parents())
    own = os.getpid()
    return [pid for pid in parents if _is_below(pid, own, parents) and not _is_kept_connection(pid)]


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    seen = {pid}
    while (pid := parents.get(pid, 0)) and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
    return False


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent's pid) of every process that is not a zombie."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            # The name in parentheses may hold anything, parentheses too.
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(folder.name), int(parent)


def _is_kept_connection(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"[mux]" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
