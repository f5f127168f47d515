# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bound on the CPUs' wake-up latency, in force while a file is held open.

Source: the kernel's power/pm_qos_interface.rst: 32 bits in the machine's order, microseconds;
closing the file ends the request, so it cannot outlive its process.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import KnobError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "dev/cpu_dma_latency"
UNBOUNDED_US = 2_000_000_000  # PM_QOS_CPU_LATENCY_DEFAULT_VALUE: nobody asks for anything
_NUMBER = struct.Struct("=i")


def in_force(path: Path) -> Optional[str]:
    """Return the bound in force in microseconds; None where there is no such device.

    Raises:
        KnobError: the device is there and cannot be read.
    """
    try:
        return str(_NUMBER.unpack(path.read_bytes()[: _NUMBER.size])[0])
    except FileNotFoundError:
        return None
    except (OSError, struct.error) as error:
        raise KnobError(f"{path}: cannot be read: {error}; next: become root") from error


@contextmanager
def hold(latency_us: Optional[int], system: Path = Path("/")) -> Iterator[Optional[str]]:
    """Hold the bound until the end of the block; give the reason why not, or None.

    Args:
        latency_us: 0 keeps CPUs from every idle state but polling; None holds nothing.
        system: root of the machine; another one for tests.
    """
    path = system / DEVICE
    if latency_us is None:
        yield "nothing was asked"
        return
    try:
        handle = os.open(path, os.O_WRONLY)
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    try:
        yield _request(handle, path, latency_us)
    finally:
        os.close(handle)


def _request(handle: int, path: Path, latency_us: int) -> Optional[str]:
    try:
        os.write(handle, _NUMBER.pack(latency_us))
    except OSError as error:
        return f"{path}: {latency_us} µs was refused: {error.strerror}"
    return None
