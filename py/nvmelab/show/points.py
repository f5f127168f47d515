# SPDX-License-Identifier: GPL-3.0-or-later
"""The single points behind a cell: each repetition with its own verdict and reasons. Pure.

What a point has beyond the background that all share is its ``own``: there the repetitions differ,
and there one looks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from nvmelab import units
from nvmelab.show import background

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nvmelab.store.records import Row, Run

STATES = ("clean", "unknown", "tainted", "failed")  # from good to bad
# A state, or a state for a reason of the point's own, in the terminal and in the report.
MARKS = {
    "clean": "\N{CHECK MARK}",
    "tainted": "·",
    "tainted own": "!",
    "failed": "\N{MULTIPLICATION X}",
    "failed own": "\N{MULTIPLICATION X}",
}
_FAILED = "failed"


class PointKey(NamedTuple):
    """What the repetitions of one cell have in common, whatever the direction."""

    stack: str
    workload: str
    rw: str
    bs: str
    numjobs: int
    iodepth: int


@dataclass(frozen=True)
class Point:
    """One point of a run. ``rows``: what was measured, none of a failed one.

    ``own``: its reasons with a code that not every point has which ran at the same place;
    ``varying``: with a code that all have, in other words (figures); ``shared``: word by word.
    """

    point_id: str
    key: PointKey
    repetition: int
    runs_on: str
    state: str
    own: tuple[str, ...]
    varying: tuple[str, ...]
    shared: tuple[str, ...]
    anchor: str
    rows: tuple[Row, ...] = field(default=(), repr=False)

    @property
    def mark(self) -> str:
        """One letter for the state, so that it is seen without colours too."""
        return MARKS.get(self.looks, "?")

    @property
    def looks(self) -> str:
        """The state, and whether the point stands out: ``"tainted own"``."""
        return f"{self.state} own" if self.own else self.state

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all its reasons, each once."""
        return background.codes((*self.own, *self.varying, *self.shared))

    @property
    def told_in_full(self) -> tuple[str, ...]:
        """The reasons that are not said of every point in the same words."""
        return (*self.own, *self.varying)

    @property
    def told(self) -> str:
        """The verdict with every reason, one a line, the shared ones by their codes."""
        lines = [f"repetition {self.repetition}, point {self.point_id}: {self.state}"]
        lines += self.told_in_full
        if self.shared:
            codes = ", ".join(background.codes(self.shared))
            lines.append(f"as every point in its place: {codes}")
        return "\n".join(lines)

    @property
    def iops(self) -> str:
        """What was measured, in short: one number a direction."""
        by_direction: dict[str, list[float | None]] = defaultdict(list)
        for row in self.rows:
            if row.direction != "sync":
                by_direction[row.direction].append(row.iops)
        sums = {
            name: None if None in values else sum(filter(None, values))
            for name, values in by_direction.items()
        }
        if len(sums) == 1:
            return units.iops(next(iter(sums.values())))
        return ", ".join(f"{name} {units.iops(value)}" for name, value in sums.items())


def points(run: Run, place: int = 0) -> list[Point]:
    """Return every point of the run that ended, in run order; ``place`` makes anchors unique."""
    measured: dict[str, list[Row]] = defaultdict(list)
    for row in run.rows:
        measured[row.point_id].append(row)
    failed = {str(one.get("id")): one for one in run.manifest.get("record", {}).get("failed") or ()}
    shared = background.backgrounds(run)
    found = []
    for number, point_id in enumerate(sorted({*measured, *failed})):
        anchor = f"point-{place}-{number}"
        if point_id in measured:
            rows = measured[point_id]
            found.append(_measured(rows, shared[rows[0].runs_on], anchor))
        else:
            found.append(_failed(point_id, failed[point_id], anchor))
    return found


def by_key(every: Iterable[Point]) -> dict[PointKey, list[Point]]:
    """Return the points of each cell, by repetition."""
    found: dict[PointKey, list[Point]] = defaultdict(list)
    for point in every:
        found[point.key].append(point)
    return {key: sorted(of, key=lambda p: (p.repetition, p.point_id)) for key, of in found.items()}


def _measured(rows: Sequence[Row], shared: background.Background, anchor: str) -> Point:
    first = rows[0]
    own, varying, same = background.divide(first, shared)
    return Point(
        point_id=first.point_id,
        key=_key(first.stack, first.workload, first.as_dict()),
        repetition=first.repetition,
        runs_on=first.runs_on,
        state=first.verdict if first.verdict in STATES else "unknown",
        own=own,
        varying=varying,
        shared=same,
        anchor=anchor,
        rows=tuple(rows),
    )


def _failed(point_id: str, record: Mapping[str, Any], anchor: str) -> Point:
    return Point(
        point_id=point_id,
        key=_key(str(record.get("stack")), str(record.get("workload")), record),
        repetition=int(record.get("repetition") or 0),
        runs_on=str(record.get("runs_on")),
        state=_FAILED,
        own=(f"{_FAILED}: {record.get('reason')}",),
        varying=(),
        shared=(),
        anchor=anchor,
    )


def _key(stack: str, workload: str, options: Mapping[str, Any]) -> PointKey:
    # fio's own defaults, where an option was not given.
    return PointKey(
        stack,
        workload,
        str(options.get("rw") or "read"),
        str(options.get("bs") or "4k"),
        int(options.get("numjobs") or 1),
        int(options.get("iodepth") or 1),
    )
