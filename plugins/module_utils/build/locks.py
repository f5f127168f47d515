# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of a lab host's sources and builds, held by whoever works on them."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline

_POLL_S = 0.1


@contextmanager
def locked(path: Path, *, deadline: Deadline, doing: str) -> Iterator[int]:
    """Hold the lock file ``path`` alone; gives its descriptor.

    A child that inherits the descriptor holds the lock as long as it lives, so what a killed
    builder left running is never worked beside.

    Raises:
        BuildError: somebody else held it until the deadline.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        while not _taken(file):
            deadline.left_s(f"{doing}: waiting for another that holds {path}")
            time.sleep(_POLL_S)
        yield file.fileno()


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
