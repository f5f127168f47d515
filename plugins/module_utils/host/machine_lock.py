# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One play at a time changes a machine: two would each record what the other has set as original.

The lock is on ``/proc`` itself, a folder that every machine has: so it leaves no file, is one for
all lab directories, and ends with its process, however that ends.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils import file_lock
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Longer than any setting takes to be written, but for a swap area that comes back.
_PATIENCE_S = 60.0
_POLL_S = 0.1


class BusyMachineError(NvmelabError):
    """Another play is changing this machine."""


@contextmanager
def alone(system: Path, *, check_mode: bool) -> Iterator[None]:
    """Be the only one of nvmelab that changes the machine below this root, for the block.

    Check mode changes nothing, and waits for nobody.

    Raises:
        BusyMachineError: another has been at it all the time that one waits.
        OSError: there is no ``/proc``.
    """
    if check_mode:
        yield
        return
    handle = os.open(system / "proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        end = time.monotonic() + _PATIENCE_S
        while not file_lock.take(handle):
            if time.monotonic() > end:
                raise BusyMachineError(
                    f"found another play that has been changing this host for {_PATIENCE_S:g} s, "
                    "wanted to be the only one; wait for its end (lsof /proc names it), then run "
                    "this again"
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)
