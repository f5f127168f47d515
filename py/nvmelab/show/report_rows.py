# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's table of all results: its columns, their units, and each value twice. Pure.

A value is text for people, rounded and with its unit, and the full number for sorting and CSV.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from nvmelab import units
from nvmelab.show import wording
from nvmelab.show.summary import bs_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nvmelab.show.latency import Latency
    from nvmelab.show.points import Point
    from nvmelab.show.stats import Spread
    from nvmelab.show.summary import Cell, HostSummary, RunSummary

Raw = float | int | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``key`` names it in CSV, unit included; ``about`` explains it to the pointer.

    ``note``: the spread, where it has no column of its own.
    """

    key: str
    title: str
    about: str
    is_number: bool
    text: Callable[[Line], str]
    raw: Callable[[Line], Raw]
    note: Callable[[Line], str] = lambda _: ""


class Filters(NamedTuple):
    """By what the table of all results can be narrowed."""

    states: list[str]
    codes: list[str]


@dataclass(frozen=True, slots=True)
class Line:
    """One cell of one run on one host."""

    host: str
    run: RunSummary
    cell: Cell

    @property
    def points(self) -> list[Point]:
        """Its repetitions, those that failed too."""
        return self.run.points_of(self.cell)

    @property
    def states(self) -> list[str]:
        """How its repetitions were judged, each state once; the worst of them is the cell's."""
        return list(dict.fromkeys([self.cell.verdict, *(point.state for point in self.points)]))

    @property
    def codes(self) -> list[str]:
        """The codes of all reasons of its repetitions, each once."""
        return list(dict.fromkeys(code for point in self.points for code in point.codes))


def lines(hosts: Iterable[HostSummary]) -> list[Line]:
    """Return every cell of every run."""
    return [Line(host.host, run, cell) for host in hosts for run in host.runs for cell in run.cells]


def columns(hosts: Sequence[HostSummary]) -> list[Column]:
    """Return the columns that tell something: no host or run column for a single one."""
    shown: list[Column] = []
    if len(hosts) > 1:
        shown.append(_word("host", "host", "lab host", lambda line: line.host))
    if len({run.run.run_id for host in hosts for run in host.runs}) > 1:
        shown.append(_word("run", "run", "run id", lambda line: line.run.run.run_id))
    shown += [*_WHAT, _VERDICT, *_IOPS]
    cells = [line.cell for line in lines(hosts)]
    if any(cell.iops and cell.iops.ci_low is not None for cell in cells):
        shown += _INTERVAL
    return [*shown, *_LATENCY, _REASONS]


def filters(hosts: Iterable[HostSummary]) -> Filters:
    """Return the states and codes that any point has, the most usual ones first."""
    every = [point for host in hosts for run in host.runs for point in run.points]
    states = Counter(point.state for point in every)
    found = Counter(code for point in every for code in point.codes)
    return Filters([name for name, _ in states.most_common()],
                   [name for name, _ in found.most_common()])  # fmt: skip


def constants(shown: Sequence[Column], every: Sequence[Line]) -> dict[str, str]:
    """Return title -> text of the describing columns that say the same in every line."""
    told = {column.key for column in _WHAT} - {"stack", "iodepth", "inflight_count", "n"}
    texts = {c.title: {c.text(line) for line in every} for c in shown if c.key in told}
    return {title: text for title, found in texts.items() if len(found) == 1 for text in found}


def _word(key: str, title: str, about: str, get: Callable[[Line], str]) -> Column:
    return Column(key, title, about, is_number=False, text=get, raw=get)


def _number(
    key: str, title: str, about: str, unit: wording.Format, get: Callable[[Line], float | None]
) -> Column:
    return Column(key, title, about, is_number=True, text=lambda line: unit(get(line)), raw=get)


def _of(get: Callable[[Cell], Spread | None], part: str) -> Callable[[Line], float | None]:
    def pick(line: Line) -> float | None:
        value: float | None = getattr(get(line.cell), part, None)
        return value

    return pick


def _spread(
    key: str, title: str, about: str, unit: wording.Format, get: Callable[[Cell], Spread | None]
) -> Column:
    def note(line: Line) -> str:
        value = get(line.cell)
        return wording.between(value.low, value.high, unit) if value and value.n > 1 else ""

    column = _number(key, title, about, unit, _of(get, "median"))
    return replace(column, note=note)


def _percentile(key: str, title: str, get: Callable[[Cell], Latency]) -> Column:
    def note(line: Line) -> str:
        value = get(line.cell)
        several = value.n > 1 and value.value_ns is not None
        return wording.between(value.low_ns, value.high_ns, units.ns) if several else ""

    return Column(
        key,
        title,
        "of all repetitions' samples together; below, least to greatest of the repetitions'",
        is_number=True,
        text=lambda line: wording.percentile(get(line.cell)),
        raw=lambda line: get(line.cell).value_ns,
        note=note,
    )


def _whole(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else f"{value:,.0f}"


def _iops(cell: Cell) -> Spread | None:
    return cell.iops


def _bs(line: Line) -> Raw:
    return bs_bytes(line.cell.panel.bs) or line.cell.panel.bs


_WHAT = (
    _word("workload", "workload", "its name in the experiment", lambda ln: ln.cell.panel.workload),
    _word("rw", "rw", "fio's rw", lambda ln: ln.cell.panel.rw),
    Column("bs_bytes", "bs", "fio's bs", is_number=True, text=lambda ln: ln.cell.panel.bs, raw=_bs),
    _word("direction", "direction", "what is measured", lambda ln: ln.cell.panel.direction),
    _word("stack", "stack", "its name in the experiment", lambda ln: ln.cell.stack),
    _word("client", "client", "what drove the I/O", lambda ln: ln.cell.client),
    _word("ioengine", "engine", "fio's ioengine", lambda ln: ln.cell.ioengine or ""),
    _number("iodepth", "iodepth", "of each job", _whole, lambda ln: ln.cell.iodepth),
    _number("numjobs", "jobs", "fio's numjobs", _whole, lambda ln: ln.cell.panel.numjobs),
    _number(
        "inflight_count", "in flight", "I/Os in flight at most, on a device: iodepth x numjobs",
        _whole, lambda ln: ln.cell.inflight_count,
    ),
    _number("n", "n", "repetitions measured", _whole, lambda ln: ln.cell.n),
)  # fmt: skip
_IOPS = (
    _number("iops_median", "IOPS", "median of the repetitions", units.iops, _of(_iops, "median")),
    _number("iops_min", "min", "IOPS of the least repetition", units.iops, _of(_iops, "low")),
    _number("iops_max", "max", "IOPS of the greatest repetition", units.iops, _of(_iops, "high")),
    _number(
        "iops_mad", "MAD", "IOPS: median distance of the repetitions from their median",
        units.iops, lambda ln: ln.cell.iops.mad if ln.cell.iops and ln.cell.n > 1 else None,
    ),
)  # fmt: skip
_INTERVAL = (
    _number("iops_ci_low", "CI low", "IOPS: 95 % interval of the median", units.iops,
            _of(_iops, "ci_low")),
    _number("iops_ci_high", "CI high", "IOPS: 95 % interval of the median", units.iops,
            _of(_iops, "ci_high")),
)  # fmt: skip
_LATENCY = (
    _spread(
        "bw_bytes_per_s_median", "bandwidth", "median of the repetitions, least to greatest below",
        units.bytes_per_s, lambda cell: cell.bw_bytes_per_s,
    ),
    _spread(
        "clat_mean_ns_median", "clat mean", "completion latency: median of the repetitions' means",
        units.ns, lambda cell: cell.mean_ns,
    ),
    _percentile("clat_p50_ns", "clat p50", lambda cell: cell.p50),
    _percentile("clat_p99_ns", "clat p99", lambda cell: cell.p99),
    _percentile("clat_p99_9_ns", "clat p99.9", lambda cell: cell.p99_9),
    _number("samples", "samples", "latencies measured", _whole, lambda ln: ln.cell.p50.count),
)  # fmt: skip
_VERDICT = Column(
    "verdict", "verdict", "could the points be trusted? A badge for each repetition",
    is_number=False, text=lambda ln: wording.judged(ln.points), raw=lambda ln: ln.cell.verdict,
)  # fmt: skip
_REASONS = Column(
    "reason_codes", "reasons", "why not: the codes of all its points' reasons",
    is_number=False, text=lambda ln: ", ".join(ln.codes), raw=lambda ln: " ".join(ln.codes),
)  # fmt: skip
