# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row: what one job did in one direction, in units that do not depend on fio's version.

Pure. Values are ns, bytes, ms and 1/s; None means "not measured", never 0.

Source: fio stat.c ``add_ddir_status_json()`` of 2.0.10 to 3.42.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import (
    Bins,
    bins_ns,
    percentile_from_bins,
)

DIRECTIONS = ("read", "write", "trim", "mixed", "sync")
NS_PER_US = 1000
Option = Union[int, str, None]
# As fio prints them since 2.1; other spellings are found the slow way.
_PERCENTILE_KEYS = {50: "50.000000", 99: "99.000000", 99.9: "99.900000"}


@dataclass(frozen=True)
class Latency:
    """One latency (slat, clat or lat) of a row, as decoded; units are applied on access."""

    raw: Mapping[str, Any]  # fio's object
    unit_ns: int  # 1 for clat_ns, 1000 for clat

    @property
    def count(self) -> Optional[int]:
        """Number of I/Os measured; None before fio 3.18, which does not say."""
        count = number(self.raw, "N")
        return None if count is None else int(count)

    @property
    def min_ns(self) -> int:
        """The shortest one."""
        return int(self._ns("min"))

    @property
    def max_ns(self) -> int:
        """The longest one."""
        return int(self._ns("max"))

    @property
    def mean_ns(self) -> float:
        """Arithmetic mean."""
        return float(self._ns("mean"))

    @property
    def stddev_ns(self) -> float:
        """Standard deviation of the sample (n - 1); 0.0 of one I/O."""
        return float(self._ns("stddev"))

    @property
    def percentiles_ns(self) -> Dict[float, int]:
        """Percent -> ns, as fio printed them; ``{}`` when it was told not to."""
        printed = self.raw.get("percentile") or {}
        # To 3.3 fio fills a short list up with "0.00" : 0.
        return {float(key): self._percentile(printed, key) for key in printed if float(key)}

    @property
    def bins_ns(self) -> Bins:
        """Histogram, bucket value in ns -> number of I/Os; ``{}`` without json+."""
        return bins_ns(self.raw.get("bins") or {}, self.unit_ns)

    def percentile_ns(self, percent: float) -> Optional[int]:
        """Return the percentile: printed by fio, else of the histogram, else None."""
        printed = self.raw.get("percentile")
        if printed:
            key = _PERCENTILE_KEYS.get(percent)
            if key is not None and key in printed:
                return self._percentile(printed, key)
            listed = self.percentiles_ns.get(percent)
            if listed is not None:
                return listed
        return percentile_from_bins(self.bins_ns, percent) if "bins" in self.raw else None

    def _percentile(self, printed: Mapping[str, Any], key: str) -> int:
        return int(required(printed, key) * self.unit_ns)

    def _ns(self, key: str) -> Union[int, float]:
        return required(self.raw, key) * self.unit_ns


class BadValueError(ValueError):
    """A value below a job is missing or of the wrong type."""


def number(part: Mapping[str, Any], key: str) -> Union[int, float, None]:
    """Return a number of fio's, None when the key is not there.

    Raises:
        BadValueError: it is something else, or infinite.
    """
    value = part.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or value - value != 0:
        raise BadValueError(f'"{key}" is {value!r}, wanted a number')
    return value  # type: ignore[no-any-return]


def required(part: Mapping[str, Any], key: str) -> Union[int, float]:
    """Return a number that fio always prints; see number."""
    value = number(part, key)
    if value is None:
        raise BadValueError(f'no "{key}" among {", ".join(part)}')
    return value


def latency_of(part: Mapping[str, Any], kind: str) -> Optional[Latency]:
    """Return the latency ``kind`` (slat, clat, lat) of a direction, None if not measured.

    fio prints zeros for what it was told not to measure (disable_clat, gtod_reduce) or what
    the engine does not have (slat of a synchronous engine).
    """
    raw = part.get(kind + "_ns")
    unit_ns = 1
    if raw is None:
        raw = part.get(kind)
        unit_ns = NS_PER_US
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise BadValueError(f'"{kind}" is {raw!r}, wanted an object')
    if not (raw.get("max") or raw.get("mean")):
        return None
    return Latency(raw, unit_ns)


@dataclass(frozen=True)
class FioRow:
    """What one job (under group_reporting: one group) did in one direction.

    A direction without I/O has no row. Rows add up only without ``is_aggregate`` and, when a
    file holds several documents, of one document: fio's status documents are cumulative.
    """

    file: str
    document: int  # place in the file, from 0
    is_last_document: bool
    fio_version: Optional[str]  # as fio writes it: fio-3.33; None of another client
    job_name: str
    group_id: Optional[int]
    hostname: Optional[str]  # of the fio server; None without client/server
    direction: str  # read, write, trim, mixed or sync
    is_aggregate: bool  # other rows of this document are counted in this one
    iops: Optional[float]
    bw_bytes_per_s: Optional[int]
    io_bytes: Optional[int]
    total_ios: Optional[int]  # None before fio 2.1.14, which does not say
    runtime_ms: Optional[int]
    slat_mean_ns: Optional[float]  # submission
    clat_mean_ns: Optional[float]  # completion
    clat_stddev_ns: Optional[float]
    clat_p50_ns: Optional[int]
    clat_p99_ns: Optional[int]
    clat_p99_9_ns: Optional[int]
    lat_mean_ns: Optional[float]  # from fio making the I/O to its completion
    lat_p99_ns: Optional[int]
    error: Optional[int]  # errno of the job, 0 for none; does not mean that the numbers are bad
    job_index: int  # place of the job in its document, from 0; names may repeat
    rw: Option  # the job's options as given to fio; None where fio does not list them
    bs: Option
    iodepth: Option
    numjobs: Option
    ioengine: Option
    part: Mapping[str, Any] = field(repr=False, compare=False)  # the direction, as decoded

    @classmethod
    def of(cls, values: Dict[str, Any]) -> FioRow:
        """Return the row with these fields, all of them; the dict becomes the row's own.

        The generated __init__ of a frozen class sets its fields one by one; with 28 of them
        that is a third of the time of reading a file.
        """
        row = cls.__new__(cls)
        object.__setattr__(row, "__dict__", values)
        return row

    def as_dict(self) -> Dict[str, Any]:
        """Return the fields by name, in order, all of them JSON scalars."""
        return {name: getattr(self, name) for name in ROW_KEYS}

    def latency(self, kind: str = "clat") -> Optional[Latency]:
        """Return ``slat``, ``clat`` or ``lat`` with all that fio says; None if not measured."""
        return latency_of(self.part, kind)

    @property
    def percentiles(self) -> Dict[float, int]:
        """Completion latency, percent -> ns; ``{}`` when not measured."""
        clat = self.latency()
        return clat.percentiles_ns if clat else {}

    @property
    def bins(self) -> Bins:
        """Completion latency, bucket value in ns -> number of I/Os; ``{}`` without json+."""
        clat = self.latency()
        return clat.bins_ns if clat else {}


ROW_KEYS: Tuple[str, ...] = tuple(f.name for f in fields(FioRow) if f.name != "part")
