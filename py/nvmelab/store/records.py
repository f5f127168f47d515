# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store keeps of a run: its manifest, its rows, its histograms.

A run on one host is a :class:`Run`; a point and direction of it is a :class:`Row`. The columns of
the stored Parquet file are the fields of ``Row``, with their types and meanings beside them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from nvmelab.errors import NvmelabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The version of a record, of the run directory that it is made from included.
# 1: first. 2: points of other clients than fio; column ``client``.
SCHEMA_VERSION = 2
# How an older record becomes one of the next version; the key is the version it starts from.
# 1 to 2: only fio drove points then, which the reader of rows fills in.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda manifest: {**manifest, "schema_version": 2},
}
FIRST_CLIENT = "fio"

# (point_id, direction, kind) -> [(value_ns, count), …] by rising value; kind is clat, lat or slat.
Histograms = dict[tuple[str, str, str], list[tuple[int, int]]]


class RecordError(NvmelabError):
    """A manifest or a row is not what its schema says."""


def _column(sql: str, meaning: str) -> Any:
    return dataclasses.field(metadata={"sql": sql, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Row:
    """One direction of one point, as its client measured it. ``None``: not measured, never 0."""

    run_id: str = _column("VARCHAR", "run, the same on every host")
    host: str = _column("VARCHAR", "lab host, by its inventory name")
    point_id: str = _column("VARCHAR", "point of the plan, in run order")
    environment: str = _column("VARCHAR", "guest that fio ran in, or `host`")
    stack: str = _column("VARCHAR", "path to the device, by its name in the experiment")
    workload: str = _column("VARCHAR", "workload, by its name in the experiment")
    repetition: int = _column("INTEGER", "1-based")
    runs_on: str = _column("VARCHAR", "`guest` or `host`")
    rw: str | None = _column("VARCHAR", "fio's `rw`")
    bs: str | None = _column("VARCHAR", "fio's `bs`, as written")
    iodepth: int | None = _column("INTEGER", "fio's `iodepth`, of each job")
    numjobs: int | None = _column("INTEGER", "fio's `numjobs`")
    device_count: int | None = _column("INTEGER", "devices driven at once, in all guests")
    client: str = _column("VARCHAR", "what drove the I/O: `fio`, `bdevperf`, `spdk_nvme_perf`")
    ioengine: str | None = _column("VARCHAR", "fio's `ioengine`")
    fio_version: str | None = _column("VARCHAR", "as fio printed it")
    job_name: str | None = _column("VARCHAR", "fio's job name")
    direction: str = _column("VARCHAR", "`read`, `write`, `trim`, `mixed` or `sync`")
    iops: float | None = _column("DOUBLE", "I/Os per second, mean over the run")
    bw_bytes_per_s: int | None = _column("BIGINT", "bytes per second, mean over the run")
    io_bytes: int | None = _column("BIGINT", "bytes moved")
    total_ios: int | None = _column("BIGINT", "I/Os done")
    runtime_ms: int | None = _column("BIGINT", "of this direction, in milliseconds")
    slat_mean_ns: float | None = _column("DOUBLE", "submission latency, mean, in nanoseconds")
    clat_count: int | None = _column("BIGINT", "completion latencies measured")
    clat_min_ns: int | None = _column("BIGINT", "completion latency, least, in nanoseconds")
    clat_max_ns: int | None = _column("BIGINT", "completion latency, greatest, in nanoseconds")
    clat_mean_ns: float | None = _column("DOUBLE", "completion latency, mean, in nanoseconds")
    clat_stddev_ns: float | None = _column("DOUBLE", "its standard deviation, in nanoseconds")
    clat_p50_ns: int | None = _column("BIGINT", "completion latency, median, in nanoseconds")
    clat_p99_ns: int | None = _column("BIGINT", "its 99th percentile, in nanoseconds")
    clat_p99_9_ns: int | None = _column("BIGINT", "its 99.9th percentile, in nanoseconds")
    lat_mean_ns: float | None = _column("DOUBLE", "submission + completion, mean, in nanoseconds")
    lat_p99_ns: int | None = _column("BIGINT", "its 99th percentile, in nanoseconds")
    error: int | None = _column("INTEGER", "errno that fio reported, 0 for none")
    started_at_s: float | None = _column("DOUBLE", "when fio started, seconds since 1970 UTC")
    ended_at_s: float | None = _column("DOUBLE", "when fio ended, seconds since 1970 UTC")
    steal_percent: float | None = _column("DOUBLE", "host CPU time stolen during the point")
    other_cpu_percent: float | None = _column("DOUBLE", "host CPU time of foreign processes")
    frequency_min_khz: int | None = _column("BIGINT", "CPU frequency, least seen, in kHz")
    frequency_median_khz: int | None = _column("BIGINT", "CPU frequency, median, in kHz")
    frequency_max_khz: int | None = _column("BIGINT", "CPU frequency, greatest seen, in kHz")
    throttle_count: int | None = _column("BIGINT", "times that heat made the CPU slow down")
    cpu_pressure_percent: float | None = _column("DOUBLE", "time that some task waited for a CPU")
    temperature_before_c: float | None = _column("DOUBLE", "of the CPU before the point, in °C")
    temperature_after_c: float | None = _column("DOUBLE", "of the CPU after the point, in °C")
    verdict: str | None = _column("VARCHAR", "`clean` or `tainted`: could the point be trusted?")
    verdict_reasons: tuple[str, ...] = _column("VARCHAR[]", "why tainted, as `code: text`")

    def as_dict(self) -> dict[str, Any]:
        """Return column -> value, in the order of the columns."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS: dict[str, str] = {f.name: f.metadata["sql"] for f in dataclasses.fields(Row)}
MEANINGS: dict[str, str] = {f.name: f.metadata["meaning"] for f in dataclasses.fields(Row)}
HISTOGRAM_COLUMNS: dict[str, str] = {
    "run_id": "VARCHAR",
    "host": "VARCHAR",
    "point_id": "VARCHAR",
    "direction": "VARCHAR",
    "kind": "VARCHAR",
    "value_ns": "BIGINT",
    "count": "BIGINT",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run on one host.

    ``manifest`` is the run directory's, with the store's own notes under ``record``:
    ``schema_version``, ``archive_sha256``, ``nvmelab_version``, ``experiment`` (the resolved
    document), ``fio_commands`` (argv by point id), ``dropped`` (points whose fio output could
    not be read: ``{"id", "reason"}``) and ``failed`` (points without a result: what each was).
    """

    manifest: dict[str, Any]
    rows: list[Row]
    read_histograms: Callable[[], Histograms] = dataclasses.field(repr=False, compare=False)

    @classmethod
    def from_parts(
        cls,
        manifest: dict[str, Any],
        rows: Sequence[Row],
        histograms: Histograms | None = None,
    ) -> Self:
        """Return a run held in memory."""
        return cls(manifest, list(rows), lambda: histograms or {})

    @property
    def run_id(self) -> str:
        """The run's id, the same on every host."""
        return str(self.manifest["run_id"])

    @property
    def host(self) -> str:
        """The lab host's name in the inventory."""
        return str(self.manifest["host"])

    @property
    def state(self) -> str:
        """One of complete, partial, failed, interrupted, running."""
        return str(self.manifest["state"])

    @property
    def skips(self) -> list[dict[str, str]]:
        """The stacks that this host could not run: ``{"stack", "reason"}``."""
        return list(self.manifest.get("skips") or [])

    @property
    def remarks(self) -> list[str]:
        """What was odd at the lab host, but no failure."""
        return [str(remark) for remark in self.manifest.get("remarks") or ()]

    @property
    def verdict(self) -> dict[str, Any]:
        """``{"state": "clean"|"tainted", "reasons": [{"code", "text"}]}`` of the whole run."""
        return dict(self.manifest.get("verdict") or {"state": "unknown", "reasons": []})

    @property
    def experiment(self) -> dict[str, Any]:
        """The resolved experiment document; empty when the run was kept without its plan."""
        return dict(self.manifest.get("record", {}).get("experiment") or {})

    def histograms(self) -> Histograms:
        """Return every latency histogram of the run; read from disk at each call."""
        return self.read_histograms()


def check_manifest(manifest: object, *, where: str) -> dict[str, Any]:
    """Return the manifest brought to this schema version.

    Raises:
        RecordError: not an object, keys missing, or written by a newer nvmelab.
    """
    if not isinstance(manifest, dict):
        raise RecordError(f"{where}: the manifest is a {type(manifest).__name__}, not an object")
    manifest = _current(manifest, where)
    wanted = ("run_id", "host", "state")
    bad = [key for key in wanted if not isinstance(manifest.get(key), str) or not manifest[key]]
    if bad:
        found = ", ".join(f"{key}={manifest.get(key)!r}" for key in bad)
        raise RecordError(f"{where}: the manifest needs {', '.join(bad)} as text, found {found}")
    return manifest


def _current(manifest: dict[str, Any], where: str) -> dict[str, Any]:
    version = manifest.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecordError(
            f"{where}: schema_version is {version!r}, wanted a number from 1 to {SCHEMA_VERSION};"
            " is this a manifest of nvmelab?"
        )
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{where}: written by nvmelab {manifest.get('nvmelab_version', '(unknown)')} with"
            f" schema {version}; this nvmelab reads up to {SCHEMA_VERSION}: upgrade it"
            " (pip install --upgrade nvmelab, or git pull)"
        )
    while version < SCHEMA_VERSION:
        manifest = MIGRATIONS[version](manifest)
        version += 1
    return manifest
