# SPDX-License-Identifier: GPL-3.0-or-later
"""From runs to cells: what all repetitions of one stack under one workload say together.

Pure. What the report and the terminal table show is decided here, how it looks is theirs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import merge_bins
from nvmelab.show import points, stats
from nvmelab.show.latency import CURVE_PERCENTS, Latency, curve, latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.fio.histogram import Bins
    from nvmelab.show.points import Point, PointKey
    from nvmelab.store.records import Histograms, Row, Run

__all__ = ["CURVE_PERCENTS", "Cell", "HostSummary", "PanelKey", "RunSummary", "summarise"]

_SIZES = {"k": 1024, "m": 1024**2, "g": 1024**3}


class PanelKey(NamedTuple):
    """What must be equal for two cells to share a plot."""

    workload: str
    rw: str
    bs: str
    numjobs: int
    direction: str

    @property
    def title(self) -> str:
        """The panel in words: name, pattern, block size, jobs."""
        words = [self.workload, "·", self.rw, self.bs]
        if self.direction not in self.rw:
            words.append(f"({self.direction} side)")
        if self.numjobs > 1:
            words.append(f"· {self.numjobs} jobs")
        return " ".join(words)


@dataclass(frozen=True)
class Cell:
    """All repetitions of one stack, workload, depth and direction in one run on one host.

    ``mean_ns``: completion latency; of a client that tells only the total, that (``lat_mean_ns``).
    ``inflight_count`` = iodepth * numjobs. ``p50``, ``p99``, ``p99_9``: of all repetitions'
    samples together. ``curve``: (percent, ns) pairs, as far as the samples carry.
    """

    run: str
    panel: PanelKey
    stack: str
    iodepth: int
    inflight_count: int
    ioengine: str | None
    runs_on: str
    iops: stats.Spread | None
    bw_bytes_per_s: stats.Spread | None
    mean_ns: stats.Spread | None
    p50: Latency
    p99: Latency
    p99_9: Latency
    curve: tuple[tuple[float, int], ...]
    verdict: str
    reasons: tuple[str, ...]
    point_ids: tuple[str, ...]
    lat_mean_ns: stats.Spread | None = None
    client: str = "fio"

    @property
    def n(self) -> int:
        """How many repetitions were measured."""
        return len(self.point_ids)


@dataclass(frozen=True)
class RunSummary:
    """One run on one host.

    ``label``: a letter when the report holds several runs, else empty. ``place``: which of all
    records it is, over all hosts.
    """

    run: Run = field(repr=False)
    label: str
    cells: tuple[Cell, ...]
    place: int = 0

    @property
    def is_emulated(self) -> bool:
        """Whether points ran in a guest whose CPU was emulated (TCG): they measure the emulator."""
        accelerator = (self.run.manifest.get("capabilities") or {}).get("accelerator") or {}
        codes = {reason.get("code") for reason in self.run.verdict.get("reasons") or ()}
        in_guest = any(row.runs_on == "guest" for row in self.run.rows)
        return "tcg" in codes or (accelerator.get("name") == "tcg" and in_guest)

    @cached_property
    def ceilings(self) -> tuple[str, ...]:
        """The stacks that the experiment calls ceilings, in its order."""
        stacks = self.run.experiment.get("stacks") or {}
        return tuple(name for name, stack in stacks.items() if (stack or {}).get("ceiling"))

    @cached_property
    def points(self) -> list[Point]:
        """Every point that ended, well or not, in run order."""
        return points.points(self.run, self.place)

    @cached_property
    def _points_by_key(self) -> dict[PointKey, list[Point]]:
        return points.by_key(self.points)

    def points_of(self, cell: Cell) -> list[Point]:
        """The repetitions of a cell, those that failed too."""
        panel = cell.panel
        key = (cell.stack, panel.workload, panel.rw, panel.bs, panel.numjobs, cell.iodepth)
        return self._points_by_key.get(points.PointKey(*key), [])

    @cached_property
    def noise(self) -> stats.Noise | None:
        """The run's noise of IOPS, from the repetitions of every stack that is no ceiling."""
        cells = (cell for cell in self.cells if cell.stack not in self.ceilings)
        return stats.noise(cell.iops for cell in cells if cell.iops)

    @property
    def panels(self) -> list[PanelKey]:
        """The workloads, in the order of the cells; fsync's latencies are no workload."""
        return list(dict.fromkeys(c.panel for c in self.cells if c.panel.direction != "sync"))


@dataclass(frozen=True)
class HostSummary:
    """All runs of one lab host, oldest first."""

    host: str
    runs: tuple[RunSummary, ...]

    @property
    def panels(self) -> list[PanelKey]:
        """Every workload of its runs, in the order of the first run that has it."""
        return list(dict.fromkeys(panel for run in self.runs for panel in run.panels))

    @property
    def is_compared(self) -> bool:
        """Whether there are several runs to compare."""
        return len(self.runs) > 1

    def cells(self, panel: PanelKey) -> list[Cell]:
        """The cells of one workload, of every run."""
        return [cell for run in self.runs for cell in run.cells if cell.panel == panel]


def summarise(runs: Sequence[Run]) -> list[HostSummary]:
    """Return the hosts by name, each with its runs; the same run has one label on every host."""
    ids = sorted({run.run_id for run in runs})
    labels = dict.fromkeys(ids, "") if len(ids) == 1 else {i: _letter(k) for k, i in enumerate(ids)}
    by_host: dict[str, list[RunSummary]] = defaultdict(list)
    for place, run in enumerate(sorted(runs, key=lambda run: run.run_id)):
        by_host[run.host].append(RunSummary(run, labels[run.run_id], _cells(run), place))
    return [HostSummary(host, tuple(by_host[host])) for host in sorted(by_host)]


def bs_bytes(bs: str) -> int:
    """Return the first size of fio's ``bs`` in bytes, for sorting; 0 when it is no such size."""
    found = re.match(r"\s*(\d+)([kmg]?)", bs.lower())
    return int(found[1]) * _SIZES.get(found[2], 1) if found else 0


def _letter(place: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[place] if place < len(letters) else f"R{place + 1}"


def _cells(run: Run) -> tuple[Cell, ...]:
    groups: dict[tuple[PanelKey, str, int], list[Row]] = defaultdict(list)
    for row in run.rows:
        groups[_panel(row), row.stack, row.iodepth or 1].append(row)
    histograms = run.histograms()
    cells = [_cell(run.run_id, rows, histograms) for rows in groups.values()]
    return tuple(sorted(cells, key=_order(run.experiment)))


def _panel(row: Row) -> PanelKey:
    # fio's own defaults, where an option was not given.
    return PanelKey(row.workload, row.rw or "read", row.bs or "4k", row.numjobs or 1, row.direction)


def _order(experiment: dict[str, Any]) -> Any:
    """Return the sort key: the experiment's order, its ceilings last; by name without one."""
    stacks = experiment.get("stacks") or {}
    names = sorted(stacks, key=lambda name: bool((stacks[name] or {}).get("ceiling")))
    stack_place = {name: place for place, name in enumerate(names)}
    workloads = [str(w.get("name")) for w in experiment.get("workloads") or ()]
    workload_place = {name: place for place, name in enumerate(dict.fromkeys(workloads))}

    def key(cell: Cell) -> tuple[Any, ...]:
        panel = cell.panel
        return (
            workload_place.get(panel.workload, len(workloads)),
            panel.workload,
            panel.rw,
            bs_bytes(panel.bs),
            panel.numjobs,
            panel.direction,
            cell.inflight_count,
            stack_place.get(cell.stack, len(names)),
            cell.stack,
        )

    return key


def _cell(run_id: str, rows: Sequence[Row], histograms: Histograms) -> Cell:
    first = rows[0]
    points: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        points[row.point_id].append(row)
    samples = [points[point_id] for point_id in sorted(points)]
    merged = [_bins(jobs, histograms) for jobs in samples]
    return Cell(
        run=run_id,
        panel=_panel(first),
        stack=first.stack,
        iodepth=first.iodepth or 1,
        inflight_count=(first.iodepth or 1) * (first.numjobs or 1),
        ioengine=first.ioengine,
        runs_on=first.runs_on,
        iops=stats.spread(_sum(job.iops for job in jobs) for jobs in samples),
        bw_bytes_per_s=stats.spread(_sum(job.bw_bytes_per_s for job in jobs) for jobs in samples),
        mean_ns=stats.spread(_only(_clat_mean_ns(job) for job in jobs) for jobs in samples),
        lat_mean_ns=stats.spread(_only(job.lat_mean_ns for job in jobs) for jobs in samples),
        client=first.client,
        p50=latency(50, merged, [_only(job.clat_p50_ns for job in jobs) for jobs in samples]),
        p99=latency(99, merged, [_only(job.clat_p99_ns for job in jobs) for jobs in samples]),
        p99_9=latency(99.9, merged, [_only(job.clat_p99_9_ns for job in jobs) for jobs in samples]),
        curve=curve(merged),
        verdict=_verdict(rows),
        reasons=tuple(dict.fromkeys(reason for row in rows for reason in row.verdict_reasons)),
        point_ids=tuple(sorted(points)),
    )


def _clat_mean_ns(job: Row) -> float | None:
    """Return the mean that belongs to the histogram which is shown: see :func:`_bins`."""
    return job.lat_mean_ns if job.clat_mean_ns is None else job.clat_mean_ns


def _bins(jobs: Iterable[Row], histograms: Histograms) -> Bins:
    """Return the histogram of a point: of completion latency, else of the total."""
    keys = {(job.point_id, job.direction) for job in jobs}
    for kind in ("clat", "lat"):
        found = [dict(histograms[*key, kind]) for key in keys if (*key, kind) in histograms]
        if found:
            return merge_bins(found)
    return {}


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum over a point's jobs, which ran at once; ``None`` when one is not measured."""
    measured = list(values)
    known = [value for value in measured if value is not None]
    return sum(known) if known and len(known) == len(measured) else None


def _only(values: Iterable[float | None]) -> float | None:
    """Return the value of a point with one job; those of several must not be averaged."""
    measured = list(values)
    return measured[0] if len(measured) == 1 else None


def _verdict(rows: Iterable[Row]) -> str:
    states = {row.verdict or "unknown" for row in rows}
    return next(state for state in ("tainted", "unknown", "clean") if state in {*states, "clean"})
