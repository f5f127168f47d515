# SPDX-License-Identifier: GPL-3.0-or-later
"""The staircases of a run for the terminal. Pure: what it returns, rich prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from nvmelab import units
from nvmelab.show import layer_rules, staircase, terminal, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from nvmelab.show.staircase import Layer, Staircase
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
    table.add_column("lat mean\n1 in\nflight", justify="right", no_wrap=True)
    table.add_column("min–max", no_wrap=True)  # noqa: RUF001
    table.add_column("n", justify="right", no_wrap=True)
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
    latency = layer.latency
    several = latency is not None and latency.n > 1
    share = layer.share(depth, stairs.layers[0]) if layer.below else None
    return [
        terminal.plain(layer.stack),
        units.ns(latency.median if latency else None),
        wording.between(latency.low, latency.high, units.ns) if latency and several else "",
        str(latency.n if latency else 0),
        staircase.cost_text(layer.cost) if layer.below else "",
        staircase.share_text(share) if layer.below else "",
        layer.verdict.partition(" ")[0],
    ]
