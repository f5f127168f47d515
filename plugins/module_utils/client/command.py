# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument lists of SPDK's own clients, and how fio is told to use SPDK's engine; pure.

Source: SPDK v25.05, perf.c ``usage()``, bdevperf.c ``bdevperf_usage()``, fio_plugin.c.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

# SPDK does not start without OpenSSL's configuration file, which it has no use for, and guests
# and small lab hosts do not have.
_WITHOUT_FILE = ("env", "OPENSSL_CONF=/dev/null")
# What an experiment calls fio's engine that is a plugin of SPDK.
SPDK_ENGINE = "spdk_nvme"


def bdevperf(
    program: str, options: Mapping[str, Any], *, config: str, bdev: str, cpu: int
) -> List[str]:
    """Return the command of bdevperf on one bdev of a configuration file.

    It has no ramp: it measures from its first I/O on. The lock of its core is left alone, for a
    storage target that is paused meanwhile may hold it. Without a trace, which nobody reads, it
    leaves nothing in shared memory when it is killed.
    """
    asked = workload.workload_of(workload.BDEVPERF, options)
    return [
        *started([program]),
        *("-c", config, "-T", bdev, "-m", f"[{cpu}]", "--disable-cpumask-locks"),
        *("--num-trace-entries", "0"),
        *_io(asked),
        *("-l", "-l"),
    ]


def spdk_nvme_perf(
    program: str, options: Mapping[str, Any], *, transport_id: str, cpu: int
) -> List[str]:
    """Return the command of spdk_nvme_perf on one controller."""
    asked = workload.workload_of(workload.NVME_PERF, options)
    ramp = ["-a", str(asked.ramp_s)] if asked.ramp_s else []
    more = [*_io(asked), *ramp, "-L", "-L", "-r", transport_id]
    return [*started([program]), "-c", f"[{cpu}]", *more]


def started(argv: Sequence[str]) -> List[str]:
    """Return the command of a program that has SPDK in it, such that it starts anywhere."""
    return [*_WITHOUT_FILE, *argv]


def _io(asked: workload.Workload) -> List[str]:
    return [
        *("-q", str(asked.iodepth), "-o", str(asked.bs_bytes)),
        *("-w", asked.rw, "-t", str(asked.runtime_s)),
    ]


def vfio_user_id(folder: str, nqn: str) -> str:
    """Return how SPDK's clients are told a vfio-user controller.

    Without the NQN they take it for a discovery controller, find nothing and end well.
    """
    return f"trtype:VFIOUSER traddr:{_word(folder)} subnqn:{_word(nqn)}"


def pcie_id(address: str) -> str:
    """Return how SPDK's clients are told a PCI device."""
    return f"trtype:PCIe traddr:{_word(address)}"


def fio_filename(transport_id: str, *, nsid: int = 1) -> str:
    """Return the same as a file name for fio's SPDK engine; fio's own escaping comes on top."""
    words = [word.split(":", 1) for word in transport_id.split(" ")]
    return " ".join([*(f"{key}={value}" for key, value in words), f"ns={nsid}"])


def fio_options(options: Mapping[str, Any], *, plugin: str) -> Dict[str, Any]:
    """Return a point's options for fio with SPDK's engine: the plugin's path, and threads."""
    return {**options, "ioengine": f"external:{plugin}", "thread": 1}


def _word(text: str) -> str:
    if not text or any(letter.isspace() for letter in text):
        raise BadInputError(f"SPDK reads transport ids word by word: found a blank in {text!r}")
    return text
