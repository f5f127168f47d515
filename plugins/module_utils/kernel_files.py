# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the kernel that several parts write or read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_kernel_file(path: Path, text: str) -> None:
    """Write to a file of the kernel, in one piece, which must be there.

    Raises:
        OSError: it is not there, or the kernel refuses.
    """
    # Without O_CREAT: a file that is not there is not the kernel's.
    handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def boot_id(system: Path) -> str:
    """Return what tells this boot from any other; empty where the kernel does not say."""
    try:
        return (system / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
