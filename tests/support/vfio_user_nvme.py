#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An NVMe device in a process: what SPDK's vfio-user target is to QEMU, small, slow and breakable.

usage: vfio_user_nvme.py SOCKET [SIZE_MIB [none|die|error|silence AFTER_IOS]]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from nvme_controller import Fault, NvmeController
from vfio_user_server import Server


def main() -> None:
    words = sys.argv[1:] + ["16", "none", "0"][len(sys.argv) - 2 :]
    path, size_mib, kind, after = Path(words[0]), int(words[1]), words[2], int(words[3])
    server = Server()
    server.serve(path, NvmeController(server, size_mib << 20, Fault(kind, after)))


if __name__ == "__main__":
    main()
