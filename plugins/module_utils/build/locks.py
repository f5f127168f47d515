# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of a lab host's sources and builds, held by whoever works on them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator

from ansible_collections.nvmelab.bench.plugins.module_utils import file_lock

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
        while not file_lock.take(file.fileno()):
            deadline.left_s(f"{doing}: waiting for another that holds {path}")
            time.sleep(_POLL_S)
        yield file.fileno()
