# SPDX-License-Identifier: GPL-3.0-or-later
"""The staircases of a run for the terminal. Pure: what it returns, rich prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from nvmelab import units
from nvmelab.show import layer_rules, staircase, terminal, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from nvmelab.show.staircase import Layer, Staircase
    from nvmelab.show.stats import Spread
    from nvmelab.show.summary import RunSummary


def tables(run: RunSummary) -> Iterator[Table]:
    """Yield one table a staircase, from its bottom layer upwards."""
    for stairs in staircase.staircases(run):
        yield _table(stairs)


def _table(stairs: Staircase) -> Table:
    title = f"staircase: {stairs.panel.title} on {stairs.backend}"
    table = terminal.headed_table(Text(terminal.plain(title)))
    depth = stairs.depths[-1]
    table.add_column("layer", overflow="fold", min_width=15)
    measured = "lat mean\n1 in" if stairs.has_latencies else f"IOPS\n{depth} in"
    table.add_column(f"{measured}\nflight", justify="right", no_wrap=True)
    table.add_column("min–max", no_wrap=True)  # noqa: RUF001
    table.add_column("n", justify="right", no_wrap=True)
    if stairs.has_latencies:
        table.add_column("cost\nan I/O", justify="right", max_width=10)
    table.add_column(f"% of first\n{depth} in\nflight", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for group in stairs.siblings:
        # Short, for a table of 80 columns: what is not said here, the layers' places say.
        title = f"over {group.over}" if group.over else layer_rules.STEPS[group.step]
        table.add_row(Text(" " * group.step + terminal.plain(title), style="bold"))
        for layer in group.layers:
            name, *cells = _cells(stairs, layer, depth)
            table.add_row(Text(" " * (group.step + 1) + name), *map(Text, cells))
    if stairs.fio_alone:
        table.caption = Text("\n".join(terminal.plain(str(one)) for one in stairs.fio_alone))
        table.caption_justify = "left"
    return table


def _cells(stairs: Staircase, layer: Layer, depth: int) -> list[str]:
    share = layer.share(depth, stairs.layers[0]) if layer.below else None
    if stairs.has_latencies:
        cost = staircase.cost_text(layer.cost) if layer.below else ""
        measured = [*_spread_cells(layer.latency, units.ns), cost]
    else:
        cell = layer.cells.get(depth)
        measured = _spread_cells(cell.iops if cell else None, units.iops)
    return [
        terminal.plain(layer.stack),
        *measured,
        staircase.share_text(share) if layer.below else "",
        layer.verdict.partition(" ")[0],
    ]


def _spread_cells(spread: Spread | None, unit: Callable[[float | None], str]) -> list[str]:
    if spread is None:
        return [unit(None), "", "0"]
    between = wording.between(spread.low, spread.high, unit) if spread.n > 1 else ""
    return [unit(spread.median), between, str(spread.n)]
