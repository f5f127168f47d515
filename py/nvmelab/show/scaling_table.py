# SPDX-License-Identifier: GPL-3.0-or-later
"""The scalings of a run for the terminal. Pure: what it returns, rich prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from nvmelab import units
from nvmelab.show import scaling, terminal, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from nvmelab.show.scaling import Point, Scaling
    from nvmelab.show.summary import RunSummary


def tables(run: RunSummary) -> Iterator[Table]:
    """Yield one table a scaling."""
    for one in scaling.scalings(run):
        yield _table(one)


def _table(one: Scaling) -> Table:
    title = f"scaling: {one.name} · {one.panel.title}, {one.inflight_count} in flight each"
    table = terminal.headed_table(Text(terminal.plain(title)))
    table.add_column("devices", justify="right", no_wrap=True)
    table.add_column("IOPS\nof all", justify="right", no_wrap=True)
    table.add_column("IOPS\nmin–max", no_wrap=True)  # noqa: RUF001
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("IOPS\na device", justify="right", no_wrap=True)
    table.add_column("efficiency", justify="right", no_wrap=True)
    table.add_column("IOPS\na core", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for key, points in one.lines.items():
        if heading := one.line_title(key):
            table.add_row(Text(heading, style="bold", justify="left"))
        for point in points:
            table.add_row(*map(Text, _cells(point)))
    return table


def _cells(point: Point) -> list[str]:
    iops, size = point.iops, point.size
    split = f"{size.guests}x{size.devices} = " if size.guests > 1 else ""
    share = point.efficiency.percent if point.efficiency else None
    return [
        f"{split}{size.total}",
        units.iops(iops.median),
        wording.between(iops.low, iops.high, units.iops) if iops.n > 1 else "",
        str(iops.n),
        units.iops(point.per_device),
        wording.percent(share),
        units.iops(point.per_core),
        point.cell.verdict,
    ]
