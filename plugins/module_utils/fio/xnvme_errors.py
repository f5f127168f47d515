# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fio's engine xnvme means by the little it says; pure.

Its failures end fio with 1 and leave a JSON document without any error in it. Each text was seen
with xNVMe d835467a and fio 3.40.
"""

from __future__ import annotations

import os
import re
from typing import Optional

# In fio's main process, and in the thread of a job.
_OPEN = re.compile(
    r"(?:(\S+): failed retrieving device handle, errno: "
    r"|_dev_open\((\S+)\): xnvme_dev_open\(\), err\()(\d+)"
)
_MEANINGS = {
    2: "there is no such device",
    6: "there is no such device, or xNVMe has not that backend",
    12: "too few free hugepages of 2 MiB (uPCIe takes 512 a process), or not root",
    95: "its driver is the kernel's; it has to be bound to uio_pci_generic or vfio-pci",
}
_OTHERS = (
    ("--thread=1 is required", "the engine xnvme needs thread=1"),
    ("multiple of LBA data size", "bs is no multiple of the device's block size"),
)


def meaning(stderr: str) -> Optional[str]:
    """Return the cause of a failure of the engine xnvme; None where it says nothing of one."""
    opening = _OPEN.search(stderr)
    if opening:
        number = int(opening[3])
        text = (
            f"xnvme cannot open {opening[1] or opening[2]}: {os.strerror(number)} (errno {number})"
        )
        return f"{text}: {_MEANINGS[number]}" if number in _MEANINGS else text
    return next((cause for words, cause in _OTHERS if words in stderr), None)
