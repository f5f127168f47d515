# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks between processes, on an open file or folder; how long to wait is the caller's."""

from __future__ import annotations

import fcntl


def take(descriptor: int) -> bool:
    """Whether what ``descriptor`` has open is now locked by it alone; it waits for nobody."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
