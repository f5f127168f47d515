# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a decoded document of fio to rows: which job and direction has one, and its units.

Pure. Source: fio stat.c ``show_thread_status_json()``, client.c ``handle_ts()``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.documents import (
    Document,
    FioOutputError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.row import (
    DIRECTIONS,
    BadValueError,
    FioRow,
    Option,
    latency_of,
    number,
)

OPTIONS = ("rw", "bs", "iodepth", "numjobs", "ioengine")
ALL_CLIENTS = "All clients"  # what fio's client calls the sum over its servers
KIB = 1024
MAX_INT = 2**31


class Origin(NamedTuple):
    """Where a document comes from: the first fields of its rows."""

    file: str
    document: int
    is_last_document: bool
    fio_version: str


@dataclass(frozen=True)
class FailedJob:
    """A job that ended with an error and has no row, for it did no I/O."""

    job_name: str
    group_id: Optional[int]
    hostname: Optional[str]
    error: int  # errno

    def __str__(self) -> str:
        where = f" on {self.hostname}" if self.hostname else ""
        reason = os.strerror(self.error) if abs(self.error) < MAX_INT else "no errno"
        return f"job {self.job_name!r}{where} did no I/O: error {self.error} ({reason})"


def rows_of_document(document: Document, origin: Origin) -> Tuple[List[FioRow], List[FailedJob]]:
    """Return the rows by job, then direction, and the jobs that have none for an error.

    Raises:
        FioOutputError: a job is not built as fio builds it, or a value is no number.
    """
    is_client = isinstance(document.get("client_stats"), list)
    list_key = "client_stats" if is_client else "jobs"
    options = _global_options(document.get("global options"))
    rows: List[FioRow] = []
    failed: List[FailedJob] = []
    for index, job in enumerate(document[list_key]):
        try:
            common = _common_fields(job, index, origin, options)
            is_sum = is_client and job["jobname"] == ALL_CLIENTS and "job options" not in job
            new = _job_rows(job, common, is_sum=is_sum)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            where = f"document {origin.document}, {list_key}[{index}]"
            reason = error if isinstance(error, BadValueError) else f"not built as by fio: {error}"
            raise FioOutputError(f"{where}: {reason}", file=origin.file) from error
        rows += new
        if common["error"] and not new and not is_sum:
            failed.append(FailedJob(*(common[f.name] for f in fields(FailedJob))))
    return rows, failed


def _common_fields(
    job: Any, index: int, origin: Origin, global_options: Mapping[str, Any]
) -> Dict[str, Any]:
    """Return the fields that all rows of a job share."""
    if not isinstance(job, dict) or not isinstance(job.get("jobname"), str):
        raise BadValueError('wanted an object with "jobname"')
    hostname = job.get("hostname")
    common = origin._asdict()
    common["job_name"] = _printable(job["jobname"])
    common["group_id"] = number(job, "groupid")
    common["hostname"] = None if hostname is None else _printable(str(hostname))
    common["error"] = number(job, "error")
    common["job_index"] = index
    own = job.get("job options")
    own = own if isinstance(own, dict) else {}
    for key in OPTIONS:
        common[key] = _option(own.get(key, global_options.get(key)))
    return common


def _job_rows(job: Mapping[str, Any], common: Dict[str, Any], *, is_sum: bool) -> List[FioRow]:
    """Return a row for each direction with I/O."""
    rows: List[FioRow] = []
    for direction in DIRECTIONS:
        part = job.get(direction)
        if part is not None and _did_io(direction, part):
            # DIRECTIONS has what mixed sums before mixed.
            is_aggregate = is_sum or (direction == "mixed" and bool(rows))
            rows.append(FioRow.of(_fields(common, direction, part, is_aggregate=is_aggregate)))
    return rows


def _did_io(direction: str, part: Any) -> bool:
    if not isinstance(part, dict):
        raise BadValueError(f'"{direction}" is {part!r}, wanted an object')
    if part.get("total_ios"):
        return True
    # fio counts fsync only: for fdatasync total_ios stays 0, though latencies are there.
    # Before 2.1.14 there is no total_ios, and less than 1 KiB is 0 io_bytes.
    return direction != "sync" and bool(part.get("io_bytes") or part.get("iops"))


def _fields(
    common: Dict[str, Any], direction: str, part: Mapping[str, Any], *, is_aggregate: bool
) -> Dict[str, Any]:
    """Return the fields of a row."""
    slat = latency_of(part, "slat")
    clat = latency_of(part, "clat")
    lat = latency_of(part, "lat")
    iops = number(part, "iops")
    return {
        **common,
        "direction": direction,
        "is_aggregate": is_aggregate,
        "iops": None if iops is None else float(iops),
        "bw_bytes_per_s": _bw_bytes_per_s(part),
        "io_bytes": _io_bytes(part),
        "total_ios": number(part, "total_ios"),
        "runtime_ms": number(part, "runtime"),
        "slat_mean_ns": slat.mean_ns if slat else None,
        "clat_mean_ns": clat.mean_ns if clat else None,
        "clat_stddev_ns": clat.stddev_ns if clat else None,
        "clat_p50_ns": clat.percentile_ns(50) if clat else None,
        "clat_p99_ns": clat.percentile_ns(99) if clat else None,
        "clat_p99_9_ns": clat.percentile_ns(99.9) if clat else None,
        "lat_mean_ns": lat.mean_ns if lat else None,
        "lat_p99_ns": lat.percentile_ns(99) if lat else None,
        "part": part,
    }


def _io_bytes(part: Mapping[str, Any]) -> Union[int, float, None]:
    value = number(part, "io_bytes")
    if value is None or "io_kbytes" in part or "bw_bytes" in part or "lat_ns" in part:
        return value
    return value * KIB


def _bw_bytes_per_s(part: Mapping[str, Any]) -> Union[int, float, None]:
    if "bw_bytes" in part:
        return number(part, "bw_bytes")
    bw_kib_per_s = number(part, "bw")
    return None if bw_kib_per_s is None else bw_kib_per_s * KIB


def _global_options(raw: Any) -> Mapping[str, Any]:
    """Return the options that hold for all jobs.

    From 3.39 a client writes a list, one object a server, without saying which: what the
    servers do not agree on is left out.
    """
    if isinstance(raw, list):
        first = raw[0] if raw and isinstance(raw[0], dict) else {}
        return {key: value for key, value in first.items() if all(_has(o, key, value) for o in raw)}
    return raw if isinstance(raw, dict) else {}


def _has(options: Any, key: str, value: Any) -> bool:
    return isinstance(options, dict) and options.get(key) == value


def _option(value: Any) -> Option:
    if value is None:
        return None
    text = str(value)
    return int(text) if text.isdecimal() else _printable(text)


def _printable(text: str) -> str:
    """Return the text without lone surrogates, which no file or terminal takes."""
    return (
        text
        if text.isascii()
        else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
