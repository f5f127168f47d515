# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as a table for the terminal that answers at a glance. Pure: what it returns, rich prints."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from nvmelab import skips, units
from nvmelab.show import (
    conditions,
    host_state,
    ranking,
    scaling_table,
    staircase_table,
    terminal,
    wording,
)
from nvmelab.show.summary import summarise
from nvmelab.show.terminal import plain as _plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from nvmelab.show.summary import HostSummary, PanelKey, RunSummary
    from nvmelab.store.records import Run

_GOOD, _BAD, _QUIET = "green", "red", "dim"
_SHOWN_CAUSES, _SHOWN_POINTS = 5, 6
_MARKS_TOLD = (
    "below a verdict, a mark each repetition: \N{CHECK MARK} clean, \N{MULTIPLICATION X} failed,"
    " \N{MIDDLE DOT} tainted as every point of the run, ! for a reason of its own"
)


def render_run(runs: Sequence[Run]) -> RenderableType:
    """Return verdict, skips and one table a workload for each of the runs; at least one run."""
    parts: list[RenderableType] = []
    for host in summarise(runs):
        for run in host.runs:
            parts += [*_head(host, run), *_tables(run), Text()]
    return Group(*parts[:-1])


def _head(host: HostSummary, run: RunSummary) -> list[Text]:
    manifest = run.run.manifest
    state = str(run.run.verdict["state"])
    name = (manifest.get("experiment") or {}).get("name", "unnamed")
    done, planned = (manifest.get(key) for key in ("points_done", "points_planned"))
    title = Text.assemble(
        (state.upper(), f"bold {_GOOD if state == 'clean' else _BAD}"),
        f"  {_plain(name)} on {_plain(host.host)}  {_plain(run.run.run_id)}",
        f"  {done} of {planned} points, run {_plain(run.run.state)}",
    )
    lines = [title]
    if manifest.get("reason"):
        lines.append(Text(f"  {_plain(str(manifest['reason']))}", style=_BAD))
    reasons = run.run.verdict.get("reasons") or ()
    lines += [Text(f"  {_plain(one['code'])}: {_plain(one['text'])}") for one in reasons]
    lines.append(_host_state(run, told={one["code"] for one in reasons}))
    lines += [
        Text(f"  skipped {_plain(line)}", style=_QUIET) for line in skips.lines(run.run.skips)
    ]
    lines += _failures(run)
    lines += [Text(f"  remark: {_plain(remark)}") for remark in run.run.remarks]
    if run.is_emulated:
        lines.append(Text(f"  TCG: {ranking.DO_NOT_RANK}", style=f"bold {_BAD}"))
    return lines


def _host_state(run: RunSummary, told: set[str]) -> Text:
    """Return the host's condition in a line; what is not as asked is named by the verdict."""
    audit = host_state.audit(run.run)
    line = f"  host {'' if audit.why_not else 'audited: '}{_plain(audit.summary)}"
    if audit.missing:
        line += f"; not audited {audit.missing} the run"
    is_bad = bool(audit.notable or audit.missing)
    if is_bad and "host-state" not in told:
        line += "".join(f"\n    {_plain(one.name)}: {_plain(one.told)}" for one in audit.notable)
    return Text(line, style=_BAD if is_bad else _QUIET)


def _failures(run: RunSummary) -> list[Text]:
    """Return each cause once, with its points."""
    points: dict[str, list[str]] = defaultdict(list)
    for name, why in conditions.failed_points(run.run):
        points[why].append(name)
    lines = [f"  failed {_points(names)}: {_plain(why)}" for why, names in points.items()]
    if len(lines) > _SHOWN_CAUSES:
        more = len(lines) - _SHOWN_CAUSES
        lines = [*lines[:_SHOWN_CAUSES], f"  and for {units.count(more, 'more cause')}"]
    return [Text(line, style=_BAD) for line in lines]


def _points(names: Sequence[str]) -> str:
    """Return points by name; of many the first."""
    more = len(names) - _SHOWN_POINTS
    told = _plain(", ".join(names[:_SHOWN_POINTS])) + (f" and {more} more" if more > 0 else "")
    return f"{'point' if len(names) == 1 else 'points'} {told}"


def _tables(run: RunSummary) -> list[RenderableType]:
    if not run.panels:
        return [Text("  no point was measured")]
    notes = []
    if any(cell.p50.is_weak or cell.p99.is_weak for cell in run.cells):
        notes.append("* fewer than 100 samples above this percentile")
    if any(cell.stack in run.ceilings for cell in run.cells):
        notes.append("^ ceiling: the same workload with parts of the path taken away")
    if any(wording.marks(run.points_of(cell)) for cell in run.cells):
        notes.append(_MARKS_TOLD)
    tables: list[RenderableType] = [_table(run, panel) for panel in run.panels]
    views = [*staircase_table.tables(run), *scaling_table.tables(run)]
    return [*tables, *(Text(note, style=_QUIET) for note in notes), *views]


def _table(run: RunSummary, panel: PanelKey) -> Table:
    # Narrow on purpose: all of it fits into 80 columns with stack names of up to 20 letters.
    table = terminal.headed_table(_plain(panel.title))
    table.add_column("stack", overflow="fold", min_width=15)
    table.add_column("IOPS\nmedian", justify="right", no_wrap=True)
    table.add_column("IOPS\nmin–max", no_wrap=True)  # noqa: RUF001
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("clat\np50", justify="right", no_wrap=True)
    table.add_column("clat\np99", justify="right", no_wrap=True)
    if not run.is_emulated:
        table.add_column("against\nfastest", min_width=8)
    table.add_column("verdict", no_wrap=True)
    for depth in ranking.depths(run, panel):
        table.add_row(Text(f"{depth.inflight_count} in flight", style="bold"))
        for standing in depth.standings:
            style = _QUIET if standing.is_ceiling else None
            table.add_row(*_cells(run, standing), style=style)
    return table


def _cells(run: RunSummary, standing: ranking.Standing) -> list[Text]:
    cell = standing.cell
    iops = cell.iops
    several = iops is not None and iops.n > 1
    texts = [
        f"{'^' if standing.is_ceiling else ' '}{_plain(cell.stack)}",
        units.iops(iops.median if iops else None),
        wording.between(iops.low, iops.high, units.iops) if iops and several else "",
        str(cell.n),
        wording.percentile(cell.p50),
        wording.percentile(cell.p99),
    ]
    if not run.is_emulated:
        texts.append(_against_fastest(standing))
    points = run.points_of(cell)
    marks = wording.marks(points)
    is_good = all(point.state == "clean" for point in points)
    colour = "" if standing.is_ceiling else _GOOD if is_good else _BAD
    verdict = f"{cell.verdict}\n{marks}" if marks else cell.verdict
    return [*map(Text, texts), Text(verdict, style=colour)]


def _against_fastest(standing: ranking.Standing) -> str:
    if standing.is_best:
        return "fastest"
    return ranking.difference_text(standing.to_best) if standing.to_best else ""
