# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's figures as Plotly's JSON, drawn by the page. Pure.

A figure is ``{kind, title, height_px, data, layout}``; the layout lacks what the page's theme
gives. Source: plotly.js reference, "scatter" and "layout".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nvmelab import units
from nvmelab.show import wording
from nvmelab.show.plot_parts import (
    DECADES,
    TCG_NOTE,
    DepthAxis,
    Styles,
    by_stack,
    heading,
    linear,
    log_latency,
    nines,
    percent_axis,
    safe,
    whiskers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from nvmelab.show.latency import Latency
    from nvmelab.show.summary import Cell, HostSummary, PanelKey

__all__ = ["Figure", "Styles", "figures"]

Figure = dict[str, Any]

_PLOT_PX = 400
_ROW_PX = 330
# What the legend needs, so that it never scrolls.
_HEAD_PX, _ENTRY_PX = 100, 19
# How many times the best stack a ceiling may reach before it squeezes the others flat.
_OFF_SCALE = 3
_SIZES_LEFT_OUT = "; of a stack in several sizes the least and the greatest, all are in Scaling"
# Where the left and the right of two plots side by side begin and end.
_SIDES = ((0.0, 0.485), (0.515, 1.0))
_PERCENTILES: tuple[tuple[str, Callable[[Cell], Latency]], ...] = (
    ("p50", lambda cell: cell.p50),
    ("p99", lambda cell: cell.p99),
)


def figures(
    host: HostSummary, panel: PanelKey, styles: Styles, left_out: Collection[str] = ()
) -> list[Figure]:
    """Return the figures of one workload on one host; ``left_out``: stacks of inner sizes."""
    every = host.cells(panel)
    cells = [cell for cell in every if cell.stack not in left_out]
    made = [iops_figure(cells, styles), latency_figure(cells, styles)]
    if any(cell.curve for cell in cells):
        made.append(percentile_figure(cells, styles))
    emulated = any(run.is_emulated for run in host.runs if panel in run.panels)
    for figure in made if len(cells) < len(every) else ():
        figure["title"] += _SIZES_LEFT_OUT
    return [_finished(figure, _far_ceilings(cells, styles), emulated=emulated) for figure in made]


def _finished(figure: Figure, far: set[str], *, emulated: bool) -> Figure:
    """Return the figure with far ceilings put aside, and with the warning that its run needs."""
    layout = figure["layout"]
    if emulated:
        layout["annotations"] = [*layout.get("annotations", ()), TCG_NOTE]
    if far:
        figure["title"] += f"; off the scale, click in the legend to show: {', '.join(sorted(far))}"
    for trace in figure["data"]:
        if trace.pop("stack") in far:
            trace["visible"] = "legendonly"
    return figure


def iops_figure(cells: Sequence[Cell], styles: Styles) -> Figure:
    """Return IOPS over I/Os in flight, whiskers from the least to the greatest repetition."""
    axis = DepthAxis(cells, styles)
    data = []
    for (stack, run_id), series in by_stack(cells).items():
        points = [(cell, cell.iops) for cell in series if cell.iops]
        trace = axis.trace(stack, run_id, [cell for cell, _ in points])
        trace["y"] = [iops.median for _, iops in points]
        trace["error_y"] = whiskers([(s.median, s.low, s.high) for _, s in points])
        data.append(trace)
    layout = {"xaxis": axis.layout(), "yaxis": linear("I/Os per second")}
    return _figure("iops", "IOPS over I/Os in flight", _PLOT_PX, data, layout)


def latency_figure(cells: Sequence[Cell], styles: Styles) -> Figure:
    """Return p50 and p99 of completion latency over I/Os in flight, side by side on one scale."""
    axis = DepthAxis(cells, styles)
    data = [
        trace
        for side, (_, pick) in enumerate(_PERCENTILES)
        for trace in _latency_traces(cells, axis, pick, side)
    ]
    layout = {
        "xaxis": {**axis.layout(), "domain": _SIDES[0]},
        "xaxis2": {**axis.layout(), "domain": _SIDES[1]},
        "yaxis": log_latency([value for trace in data for value in trace["y"]]),
        "annotations": [
            heading(name, x) for (name, _), (x, _) in zip(_PERCENTILES, _SIDES, strict=True)
        ],
    }
    return _figure("latency", "Completion latency over I/Os in flight", _PLOT_PX, data, layout)


def _latency_traces(
    cells: Sequence[Cell], axis: DepthAxis, pick: Callable[[Cell], Latency], side: int
) -> list[dict[str, Any]]:
    traces = []
    for (stack, run_id), series in by_stack(cells).items():
        shown = [cell for cell in series if pick(cell).value_ns is not None]
        found = [pick(cell) for cell in shown]
        trace = axis.trace(stack, run_id, shown)
        trace["y"] = [one.value_ns for one in found]
        trace["error_y"] = whiskers([(one.value_ns, one.low_ns, one.high_ns) for one in found])
        traces.append({**trace, "xaxis": "x2" if side else "x", "showlegend": not side})
    return traces


def percentile_figure(cells: Sequence[Cell], styles: Styles) -> Figure:
    """Return the percentile curves, a plot each depth, two side by side."""
    counts = sorted({cell.inflight_count for cell in cells if cell.curve})
    rows = math.ceil(len(counts) / 2)
    scale = log_latency([ns for cell in cells for _, ns in cell.curve])
    layout: dict[str, Any] = {"annotations": []}
    data: list[dict[str, Any]] = []
    for place, count in enumerate(counts):
        suffix = str(place + 1) if place else ""
        x = _SIDES[place % 2] if len(counts) > 1 else (0.0, 1.0)
        y = _row_domain(place // 2, rows)
        layout[f"xaxis{suffix}"] = {**percent_axis(), "domain": x, "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = {**scale, "domain": y, "anchor": f"x{suffix}"}
        if place:
            layout[f"yaxis{suffix}"]["matches"] = "y"
        if place % 2:
            layout[f"yaxis{suffix}"] |= {"title": None, "showticklabels": False}
        layout["annotations"].append(heading(f"{count} in flight", x[0], y[1]))
        data += [
            _curve(cell, styles, suffix)
            for cell in cells
            if cell.inflight_count == count and cell.curve
        ]
    title = "Completion latency by percentile, of all repetitions' samples together"
    return _figure("percentiles", title, _ROW_PX * rows + 70, _legend_once(data), layout)


def _row_domain(row: int, rows: int) -> tuple[float, float]:
    """Return bottom and top of a row of plots, the first on top, with room for its axis."""
    room = 0.13 if row + 1 < rows else 0
    return 1 - (row + 1) / rows + room, 1 - row / rows - (0.03 if row else 0)


def _legend_once(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the traces, only the first of each stack and run with an entry in the legend."""
    seen: set[str] = set()
    for trace in data:
        trace["showlegend"] = trace["legendgroup"] not in seen
        seen.add(trace["legendgroup"])
    return data


def _far_ceilings(cells: Sequence[Cell], styles: Styles) -> set[str]:
    """Return the ceilings that would squeeze the stacks flat."""
    best = max((c.iops.median for c in cells if c.iops and c.stack in styles.stacks), default=0)
    far = (c for c in cells if c.iops and c.stack in styles.ceilings)
    return {c.stack for c in far if best and c.iops and c.iops.median > _OFF_SCALE * best}


def _curve(cell: Cell, styles: Styles, suffix: str) -> dict[str, Any]:
    look = styles.trace(cell.stack, cell.run)
    about = f"n={cell.n}, {cell.p50.count or 0:,} samples, {wording.verdict(cell)}"
    return {
        **look,
        "type": "scatter",
        "mode": "lines+markers",
        "x": [round(nines(percent), 4) for percent, _ in cell.curve],
        "y": [ns for _, ns in cell.curve],
        "customdata": [
            f"{safe(f'{cell.stack}: p{percent:g} = {units.ns(ns)}')}<br>{safe(about)}"
            for percent, ns in cell.curve
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        # A mark at each decade tells the curves apart without hiding them.
        "marker": {**look["marker"], "size": [7 if p in DECADES else 0 for p, _ in cell.curve]},
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
    }


def _figure(
    kind: str, title: str, height_px: int, data: list[dict[str, Any]], layout: dict[str, Any]
) -> Figure:
    entries = sum(trace.get("showlegend", True) for trace in data)
    height_px = max(height_px, _HEAD_PX + _ENTRY_PX * entries)
    return {"kind": kind, "title": title, "height_px": height_px, "data": data, "layout": layout}
