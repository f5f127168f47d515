# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an NVMe device fio's engine is given, and the options that go with it; pure.

Source: fio HOWTO, "I/O engine" (io_uring_cmd, xnvme) and "thread"; xNVMe's backends. xnvme refuses
to run without thread=1; io_uring_cmd refuses direct=1, for its I/O never meets the page cache.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS

# Values of a target's `node`.
BLOCK = "block"  # /dev/nvme0n1, /dev/vdb
CHARACTER = "character"  # /dev/ng0n1: commands are passed through
ADDRESS = "address"  # 0000:00:10.0: the engine drives the device itself

XNVME, PASS_THROUGH = "xnvme", "io_uring_cmd"
# xNVMe's backends that drive a device themselves, and the one that role xnvme builds it with.
BUILT_DRIVER = "upcie"
OWN_DRIVERS = (BUILT_DRIVER, "spdk", "libvfn")
# uPCIe takes one heap of 1 GiB a process, in pages of 2 MiB.
HUGEPAGES_2M_COUNT = 512


def node_of(options: Mapping[str, Any], driver: Optional[str]) -> str:
    """Return which node of a device with this driver these options are for."""
    if driver in USER_SPACE_DRIVERS:
        return ADDRESS
    return CHARACTER if passes_through(options) else BLOCK


def passes_through(options: Mapping[str, Any]) -> bool:
    """Whether NVMe commands are handed through the kernel, be it by fio or by xNVMe."""
    engine = options.get("ioengine")
    return engine == PASS_THROUGH or (
        engine == XNVME and options.get("xnvme_async") == PASS_THROUGH
    )


def completed(options: Mapping[str, Any], driver: Optional[str]) -> Dict[str, Any]:
    """Return the options with those that the engine cannot do without on such a device.

    ``direct``, mostly given for all stacks alike, is taken back where the engine refuses it.
    """
    engine = options.get("ioengine")
    added: Dict[str, Any] = {}
    if engine == XNVME:
        added["thread"] = 1
    if engine == XNVME and driver in USER_SPACE_DRIVERS:
        added["xnvme_be"] = options.get("xnvme_be", BUILT_DRIVER)
        added["xnvme_dev_nsid"] = 1
    if engine == PASS_THROUGH:
        added["direct"] = 0
    return {**options, **added}
