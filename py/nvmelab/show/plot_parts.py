# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report's figures are put together from: looks, axes, whiskers, notes. Pure.

Colours are the page's: a trace says only which style it has (``meta``), so that one figure serves
the light page, the dark one and paper. Names come from files that anyone may have written, and
Plotly reads a kind of HTML in its texts: everything goes through :func:`safe`.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from nvmelab import units
from nvmelab.show import wording
from nvmelab.show.ranking import DO_NOT_RANK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nvmelab.show.summary import Cell, HostSummary

SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"),
    *("pentagon", "hexagram", "hourglass"),
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
DECADES = (50, 90, 99, 99.9, 99.99)


class Styles:
    """Which look a stack has, the same in every figure of a report."""

    def __init__(self, hosts: Sequence[HostSummary]) -> None:
        runs = [run for host in hosts for run in host.runs]
        names = [cell.stack for run in runs for cell in run.cells]
        names += [point.key.stack for run in runs for point in run.points]  # that failed, too
        ceilings = {name for run in runs for name in run.ceilings}
        self.stacks = list(dict.fromkeys(name for name in names if name not in ceilings))
        self.ceilings = list(dict.fromkeys(name for name in names if name in ceilings))
        self.runs = sorted({cell.run for run in runs for cell in run.cells})
        self.labels = {run.run.run_id: run.label for run in runs}

    def place(self, stack: str) -> int:
        """Return the stack's place among those of its kind."""
        kind = self.ceilings if stack in self.ceilings else self.stacks
        return kind.index(stack)

    def trace(self, stack: str, run_id: str) -> dict[str, Any]:
        """Return the part of a trace that makes it recognisable."""
        place, is_ceiling = self.place(stack), stack in self.ceilings
        label = self.labels.get(run_id)
        dash = self.runs.index(run_id) if len(self.runs) > 1 else place // 4
        return {
            "stack": stack,
            "name": safe(f"{stack} · {label}" if label else stack),
            "legendgroup": safe(f"{stack}{label}"),
            "meta": {"style": place, "ceiling": is_ceiling},
            "marker": {"symbol": SYMBOLS[place % len(SYMBOLS)] + ("-open" if is_ceiling else "")},
            "line": {"dash": DASHES[dash % len(DASHES)], "width": 1.5},
        }


def by_stack(cells: Iterable[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Return the cells of each stack and run, by rising depth."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.stack, cell.run), []).append(cell)
    return {key: sorted(s, key=lambda cell: cell.inflight_count) for key, s in found.items()}


class DepthAxis:
    """I/Os in flight on a log2 scale; stacks stand a little beside each other, not on top."""

    def __init__(self, cells: Sequence[Cell], styles: Styles) -> None:
        self.styles = styles
        self.counts = sorted({cell.inflight_count for cell in cells})
        self.keys = list(by_stack(cells))

    def trace(self, stack: str, run_id: str, cells: Sequence[Cell]) -> dict[str, Any]:
        """Return the trace without its heights."""
        width = min(0.5, 0.07 * len(self.keys))
        place = self.keys.index((stack, run_id)) / max(1, len(self.keys) - 1) - 0.5
        return {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [round(math.log2(c.inflight_count) + width * place, 4) for c in cells],
            "customdata": [hover(cell) for cell in cells],
            "hovertemplate": "%{customdata}<extra></extra>",
            **self.styles.trace(stack, run_id),
        }

    def layout(self) -> dict[str, Any]:
        """Return the axis."""
        places = [math.log2(count) for count in self.counts]
        return {
            "title": {"text": "I/Os in flight (iodepth x numjobs)"},
            "tickvals": places,
            "ticktext": [str(count) for count in self.counts],
            "range": [places[0] - 0.5, places[-1] + 0.5],
            "zeroline": False,
        }


def hover(cell: Cell) -> str:
    """Return what the pointer shows of a cell: every number with its n, spread and verdict."""
    lines = (
        f"{cell.stack}, {cell.inflight_count} in flight",
        f"{wording.spread(cell.iops, units.iops)} IOPS",
        wording.percentile_detail(cell.p50),
        wording.percentile_detail(cell.p99),
        wording.verdict(cell),
    )
    return "<br>".join(safe(line) for line in lines)


def nines(percent: float) -> float:
    """Return how many nines: 90 % is 1, 99 % is 2."""
    return -math.log10(1 - percent / 100)


def whiskers(points: Sequence[tuple[float | None, float | None, float | None]]) -> dict[str, Any]:
    """Return error bars; none of a single repetition: its ends are the value itself."""
    known = [(middle or 0, low or 0, high or 0) for middle, low, high in points]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0, high - middle) for middle, _, high in known],
        "arrayminus": [max(0, middle - low) for middle, low, _ in known],
        "thickness": 1.2,
        "width": 3,
    }


def linear(title: str) -> dict[str, Any]:
    """Return an axis from 0, its ticks with SI prefixes."""
    return {"title": {"text": title}, "rangemode": "tozero", "tickformat": "~s"}


def percent_axis() -> dict[str, Any]:
    """Return an axis of percentiles on which each nine takes as much room as the one before."""
    return {
        "title": {"text": "percentile"},
        "tickvals": [nines(percent) for percent in DECADES],
        "ticktext": [f"{percent:g} %" for percent in DECADES],
        "zeroline": False,
    }


def log_latency(values: Sequence[float]) -> dict[str, Any]:
    """Return a log axis for values in ns; its ticks, 1, 2 and 5 of a decade, say their unit."""
    low, high = min(values, default=1000), max(values, default=1000)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10**decade for decade in decades for step in (1, 2, 5)]
    return {
        "type": "log",
        "title": {"text": "completion latency"},
        "tickvals": ticks,
        "ticktext": [units.ns(tick).replace(".00", "").replace(".0", "") for tick in ticks],
    }


def heading(text: str, x: float, y: float = 1) -> dict[str, Any]:
    """Return a heading over the plot whose upper left corner is there."""
    return {
        "text": f"<b>{safe(text)}</b>",
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "left",
        "yanchor": "bottom",
    }


TCG_NOTE = {
    "text": f"TCG: {DO_NOT_RANK}",
    "showarrow": False,
    "xref": "paper",
    "yref": "paper",
    "x": 1,
    "y": 1,
    "xanchor": "right",
    "yanchor": "bottom",
    "meta": "warning",
}


def safe(text: str) -> str:
    """Return the text as Plotly shows it letter by letter."""
    return html.escape(text, quote=False)
