# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SPDK's own clients can be asked for, in fio's words; pure.

They know one job with one pattern and one block size. What of fio's words means nothing to them
and changes no I/O is left out; whatever would change the I/O is a fault, so that a ceiling is
never measured with another workload than the stacks under it.

Source: SPDK v25.05, app/spdk_nvme_perf/perf.c and examples/bdev/bdevperf/bdevperf.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job

FIO = "fio"
BDEVPERF = "bdevperf"
NVME_PERF = "spdk_nvme_perf"
# What drives the I/O of a stack.
CLIENTS = (FIO, BDEVPERF, NVME_PERF)

TAKEN = ("rw", "bs", "iodepth", "numjobs", "runtime", "ramp_time")
# How fio is to do it, not what: these clients always poll, pass no page cache, run for a time,
# draw random blocks without a map and measure all latencies.
MEANINGLESS = frozenset(
    {"clat_percentiles", "direct", "fixedbufs", "group_reporting", "hipri", "invalidate"}
    | {"ioengine", "lat_percentiles", "norandommap", "percentile_list", "randrepeat"}
    | {"random_generator", "registerfiles", "slat_percentiles", "thread", "time_based"}
)
PATTERNS = ("read", "write", "randread", "randwrite")
# fio's own defaults, so that a workload that leaves them out is the same for every client.
_DEFAULTS: Dict[str, Any] = {"rw": "read", "bs": "4k", "iodepth": 1}
# A queue of the transport has 256 entries, and spdk_nvme_perf counts two of them an I/O.
_DEPTH_MAX = {NVME_PERF: 128}
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True)
class Workload:
    """What one point asks of such a client."""

    rw: str
    bs_bytes: int
    iodepth: int
    runtime_s: int
    ramp_s: int


def workload_of(client: str, options: Mapping[str, Any]) -> Workload:
    """Return what the options ask of the client.

    Raises:
        BadInputError: the client cannot do it.
    """
    for key, value in options.items():
        complaint = fault(client, key, value)
        if complaint:
            raise BadInputError(f"client {client}: {key}: {complaint}")
    found = {**_DEFAULTS, **options}
    runtime_s = fio_job.seconds_of(found.get("runtime"))
    if not runtime_s:
        raise BadInputError(f"client {client}: no runtime; it must know when to end")
    bs_bytes = size_bytes(found["bs"])
    assert bs_bytes is not None  # noqa: S101  (fault() has looked)
    return Workload(
        rw=str(found["rw"]),
        bs_bytes=bs_bytes,
        iodepth=int(found["iodepth"]),
        runtime_s=int(runtime_s),
        ramp_s=int(fio_job.seconds_of(found.get("ramp_time", 0)) or 0),
    )


def taken(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Return those of the options that mean something to such a client, defaults filled in."""
    kept = {key: options[key] for key in TAKEN if key in options and key != "numjobs"}
    return {**_DEFAULTS, **kept, "time_based": 1}


def fault(client: str, key: str, value: Any) -> Optional[str]:
    """Return why the client cannot be given one value of one option of fio, or None."""
    if key in MEANINGLESS:
        return None
    if key not in TAKEN:
        return f"client {client} knows nothing like it; it takes {', '.join(TAKEN)}"
    return next(_faults(client, key, value), None)


def _faults(client: str, key: str, value: Any) -> Iterator[str]:
    if key == "rw" and value not in PATTERNS:
        yield f"found {value!r}; client {client} reports one direction: {', '.join(PATTERNS)}"
    if key == "numjobs" and str(value) != "1":
        yield f"found {value!r}; client {client} runs one job: numjobs: 1"
    if key == "bs" and size_bytes(value) is None:
        yield f"found {value!r}; client {client} takes one block size, such as 512 or 4k"
    if key in {"runtime", "ramp_time"} and not _is_whole(value):
        yield f"found {value!r}; client {client} counts whole seconds"
    if key == "iodepth":
        yield from _depth_faults(client, value)


def _depth_faults(client: str, value: Any) -> Iterator[str]:
    most = _DEPTH_MAX.get(client)
    if not str(value).isdigit() or int(value) < 1:
        yield f"found {value!r}; wanted a whole number of at least 1"
    elif most and int(value) > most:
        yield f"found {value!r}; client {client} has at most {most} in flight on a queue"


def _is_whole(value: Any) -> bool:
    seconds = fio_job.seconds_of(value)
    return seconds is not None and seconds == int(seconds)


def size_bytes(value: Any) -> Optional[int]:
    """Return one size of fio's in bytes: ``512``, ``4k``; None when it is several, or none."""
    found = re.fullmatch(r"([0-9]+)([kmg]?)(i?b)?", str(value).strip().lower())
    return int(found[1]) * _SIZE_UNITS[found[2]] or None if found else None


def direction_of(rw: str) -> Tuple[str, bool]:
    """Return ``read`` or ``write``, and whether blocks are drawn at random."""
    is_random = rw.startswith("rand")
    return (rw[len("rand") :] if is_random else rw), is_random
