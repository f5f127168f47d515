# SPDX-License-Identifier: GPL-3.0-or-later
"""Which stack did better at one depth, as far as the repetitions tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvmelab.show import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nvmelab.show.summary import Cell, PanelKey, RunSummary

NO_DIFFERENCE = "no difference shown"
DO_NOT_RANK = "CPU-bound emulation: do not rank devices"


@dataclass(frozen=True, slots=True)
class Share:
    """A cell's IOPS as percent of a ceiling's, with what the extremes of both would give."""

    ceiling: str
    percent: float
    low_percent: float
    high_percent: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A cell among the others at its depth.

    ``rank``: 1 + how many stacks are apart from it and faster; ``None`` where ranking is not
    honest: under emulation, for ceilings, with a single repetition. ``to_best``: against the
    fastest stack, ``None`` for itself and where there is no rank. ``is_best``: is the fastest.
    """

    cell: Cell
    is_ceiling: bool
    rank: int | None
    is_tied: bool
    is_best: bool
    to_best: stats.Difference | None
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Depth:
    """The standings at one number of I/Os in flight: ranked ones first, ceilings last."""

    inflight_count: int
    standings: tuple[Standing, ...]


def depths(run: RunSummary, panel: PanelKey) -> list[Depth]:
    """Return the standings of one workload of one run, by rising depth."""
    cells = [cell for cell in run.cells if cell.panel == panel]
    counts = sorted({cell.inflight_count for cell in cells})
    return [
        Depth(count, _standings(run, [c for c in cells if c.inflight_count == count]))
        for count in counts
    ]


def difference_text(difference: stats.Difference) -> str:
    """Return the difference in words: ``"-12 %"``, or that none was shown."""
    if difference.state == "none":
        return NO_DIFFERENCE
    if difference.ratio is None:
        return "not comparable"
    percent = (difference.ratio - 1) * 100
    decimals = int(abs(percent) < 9.95)  # noqa: PLR2004
    text = f"{percent:+.{decimals}f} %".replace("-", "\N{MINUS SIGN}")
    return f"{text} (n=1: spread unknown)" if difference.state == "unknown" else text


def _standings(run: RunSummary, cells: Sequence[Cell]) -> tuple[Standing, ...]:
    ceilings = [cell for cell in cells if cell.stack in run.ceilings]
    stacks = [cell for cell in cells if cell.stack not in run.ceilings]
    ranked = [] if run.is_emulated else _ranked(stacks)
    best = ranked[0] if ranked else None
    order = [*ranked, *(cell for cell in stacks if cell not in ranked), *ceilings]
    ranks = {id(cell): _rank(cell, ranked, run.noise) for cell in ranked}
    return tuple(
        Standing(
            cell=cell,
            is_ceiling=cell in ceilings,
            rank=ranks.get(id(cell)),
            is_tied=list(ranks.values()).count(ranks.get(id(cell), 0)) > 1,
            is_best=cell is best,
            to_best=_to_best(cell, best, run.noise) if id(cell) in ranks else None,
            shares=() if cell in ceilings else _shares(cell, ceilings),
        )
        for cell in order
    )


def _ranked(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells with a known spread, fastest median first."""
    known = [(cell.iops, cell) for cell in cells if cell.iops and cell.iops.n > 1]
    return [cell for _, cell in sorted(known, key=lambda pair: -pair[0].median)]


def _rank(cell: Cell, ranked: Sequence[Cell], noise: stats.Noise | None) -> int:
    """Return 1 + how many are faster and apart; ``ranked`` is ordered, so those before the cell."""
    faster = ranked[: ranked.index(cell)]
    differences = [_difference(other, cell, noise) for other in faster]
    return 1 + sum(d.state in {"apart", "shown"} for d in differences if d)


def _difference(one: Cell, other: Cell, noise: stats.Noise | None) -> stats.Difference | None:
    if one.iops is None or other.iops is None:
        return None
    return stats.difference(one.iops, other.iops, noise)


def _to_best(cell: Cell, best: Cell | None, noise: stats.Noise | None) -> stats.Difference | None:
    return None if best is None or cell is best else _difference(cell, best, noise)


def _shares(cell: Cell, ceilings: Sequence[Cell]) -> tuple[Share, ...]:
    return tuple(found for ceiling in ceilings if (found := share(cell, ceiling)))


def share(cell: Cell, ceiling: Cell) -> Share | None:
    """Return the cell's IOPS as percent of the ceiling's; ``None`` when one is not measured."""
    one, top = cell.iops, ceiling.iops
    if one is None or top is None or not top.low:
        return None
    return Share(
        ceiling=ceiling.stack,
        percent=100 * one.median / top.median,
        low_percent=100 * one.low / top.high,
        high_percent=100 * one.high / top.low,
    )
