# SPDX-License-Identifier: GPL-3.0-or-later
"""The figure of a scaling: IOPS of all devices over their number, a line for each size of the rest.

Pure. Where only cores of the target were swept, they are what the axis counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvmelab import units
from nvmelab.show import wording
from nvmelab.show.plot_parts import DASHES, SYMBOLS, TCG_NOTE, linear, safe, whiskers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nvmelab.show.plots import Figure
    from nvmelab.show.scaling import Point, Scaling

_PLOT_PX = 440
_HEAD_PX, _ENTRY_PX = 100, 19
# How much closer than this part of the axis two numbers below it would touch.
_TICK_ROOM = 1 / 40
# Proportional growth is drawn as far above the best measured point.
_HEADROOM = 1.1


def figure(scaling: Scaling, *, is_emulated: bool) -> Figure:
    """Return the figure; whiskers from the least to the greatest repetition."""
    data = [*_proportional(scaling), *_lines(scaling)]
    height_px = max(_PLOT_PX, _HEAD_PX + _ENTRY_PX * len(data))
    layout = {
        "xaxis": _axis(scaling),
        "yaxis": linear("I/Os per second, all devices"),
        "annotations": [TCG_NOTE] if is_emulated else [],
    }
    over = "devices driven at once" if _axis_is_devices(scaling) else "cores of the target"
    title = f"IOPS of all devices over {over}"
    return {"kind": "scaling", "title": title, "height_px": height_px, "data": data,
            "layout": layout}  # fmt: skip


def _axis_is_devices(scaling: Scaling) -> bool:
    return len({point.size.total for point in scaling.points}) > 1


def _place(scaling: Scaling, point: Point) -> int:
    return point.size.total if _axis_is_devices(scaling) else point.size.cores or 0


def _axis(scaling: Scaling) -> dict[str, Any]:
    places = sorted({_place(scaling, point) for point in scaling.points})
    shown: list[int] = []
    for place in reversed(places):
        if not shown or shown[-1] - place >= places[-1] * _TICK_ROOM:
            shown.append(place)
    words = "devices, in all guests" if _axis_is_devices(scaling) else "cores of the target"
    return {"title": {"text": words}, "tickvals": shown[::-1], "rangemode": "tozero",
            "zeroline": False}  # fmt: skip


def _lines(scaling: Scaling) -> list[dict[str, Any]]:
    if not _axis_is_devices(scaling):
        every = scaling.points
        return [_trace(scaling, scaling.name, every, colour=0, look=0)]
    cores = list(dict.fromkeys(key.cores for key in scaling.lines))
    guests = list(dict.fromkeys(key.guests for key in scaling.lines))
    return [
        _trace(
            scaling,
            scaling.line_title(key) or scaling.name,
            points,
            colour=cores.index(key.cores),
            look=guests.index(key.guests),
        )
        for key, points in scaling.lines.items()
    ]


def _trace(
    scaling: Scaling, name: str, points: Sequence[Point], *, colour: int, look: int
) -> dict[str, Any]:
    """Return a line: its colour tells the cores, its mark and dash the guests."""
    points = sorted(points, key=lambda point: _place(scaling, point))
    spreads = [one.iops for one in points]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": safe(name),
        "x": [_place(scaling, one) for one in points],
        "y": [iops.median for iops in spreads],
        "error_y": whiskers([(iops.median, iops.low, iops.high) for iops in spreads]),
        "customdata": [_hover(one) for one in points],
        "hovertemplate": "%{customdata}<extra></extra>",
        "meta": {"style": colour, "ceiling": False},
        "marker": {"symbol": SYMBOLS[look % len(SYMBOLS)]},
        "line": {"dash": DASHES[look % len(DASHES)], "width": 1.5},
    }


def _proportional(scaling: Scaling) -> list[dict[str, Any]]:
    """Return where all devices would be as fast as the best reference's, as far as it is seen."""
    found = [one for one in scaling.points if one.size == one.reference]
    best = max(found, key=lambda one: one.per_device)
    each, first = best.per_device, best.size.total
    if not each or not _axis_is_devices(scaling):
        return []
    most = max(one.size.total for one in scaling.points)
    last = round(max(first, min(most, _HEADROOM * scaling.top / each)), 3)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"in proportion: {units.iops(each)} a device",
            "x": [first, last],
            "y": [each * first, each * last],
            "hoverinfo": "skip",
            "meta": {"style": 0, "ceiling": True},
            "marker": {"symbol": "circle-open"},
            "line": {"dash": "dot", "width": 1.2},
        }
    ]


def _hover(point: Point) -> str:
    size = point.size
    lines = [
        point.cell.stack,
        size_text(point),
        f"{wording.spread(point.iops, units.iops)} IOPS",
        f"{units.iops(point.per_device)} a device",
    ]
    if point.efficiency and size != point.reference:
        lines[-1] += f", {wording.percent(point.efficiency.percent)} of {point.reference.total}'s"
    if size.cores:
        lines.append(f"{units.iops(point.per_core)} a core")
    lines.append(wording.verdict(point.cell))
    return "<br>".join(safe(line) for line in lines)


def size_text(point: Point) -> str:
    """Return ``"8 devices (2 guests x 4), 4 cores"``."""
    size = point.size
    split = f" ({size.guests} guests x {size.devices})" if size.guests > 1 else ""
    cores = f", {units.count(size.cores, 'core')}" if size.cores else ""
    return f"{units.count(size.total, 'device')}{split}{cores}"
