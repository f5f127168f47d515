# SPDX-License-Identifier: GPL-3.0-or-later
"""How I/Os per second grow with devices, guests and cores of the target. Pure.

Stacks that are alike but for their size are one :class:`Scaling`, by what they are, not by their
names. A cell's IOPS are the sum over all of its devices, so they are told a device and a core, too.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from nvmelab import units
from nvmelab.show import layer_rules, ranking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nvmelab.show import stats
    from nvmelab.show.summary import Cell, PanelKey, RunSummary

    Stack = Mapping[str, Any]

# In what stacks of one scaling may differ: their size, what it wants of the host, words.
_SIZES = ("devices", "guests", "server_cores", "server_cpus", "client_cpus", "description")
# What a sweep of sizes adds to a name: see nvmelab.experiment.stack_sweep.
_SIZE_IN_NAME = re.compile(r"(-[dcg][0-9]+)+$")


class Size(NamedTuple):
    """``devices`` in each of ``guests``; ``cores`` that a target polls, ``None`` without one."""

    cores: int | None
    guests: int
    devices: int

    @property
    def total(self) -> int:
        """How many devices are driven at once."""
        return self.guests * self.devices


class LineKey(NamedTuple):
    """What is equal along a line; ``guests`` is ``None`` where it is what grows along it."""

    cores: int | None
    guests: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """One size. ``iops``: of all its devices, over the repetitions.

    ``efficiency``: IOPS a device, as percent of those of the ``reference``, which has the fewest
    devices of all with as many cores; it is at 100 % of itself.
    """

    size: Size
    cell: Cell
    iops: stats.Spread
    reference: Size
    efficiency: ranking.Share | None

    @property
    def per_device(self) -> float:
        """The median of IOPS, a device."""
        return self.iops.median / self.size.total

    @property
    def per_core(self) -> float | None:
        """The median of IOPS, a core of the target; ``None`` where that polls none."""
        return self.iops.median / self.size.cores if self.size.cores else None


@dataclass(frozen=True, slots=True)
class Scaling:
    """One stack in several sizes, under one workload at one depth on each device.

    ``name``: of the stack that was swept; ``path``: what it is, in words.
    """

    panel: PanelKey
    inflight_count: int
    name: str
    path: str
    lines: Mapping[LineKey, tuple[Point, ...]]

    @property
    def points(self) -> list[Point]:
        """The points of all lines."""
        return [point for points in self.lines.values() for point in points]

    @property
    def top(self) -> float:
        """The greatest IOPS of any repetition."""
        return max(one.iops.high for one in self.points)

    def line_title(self, key: LineKey) -> str:
        """Return in what a line differs from the others: ``"4 cores, 2 guests"``."""
        words = [
            units.count(value, noun)
            for value, noun, seen in (
                (key.cores, "core", {one.cores for one in self.lines}),
                (key.guests, "guest", {one.guests for one in self.lines}),
            )
            if value is not None and len(seen) > 1
        ]
        return ", ".join(words)


def scalings(run: RunSummary) -> list[Scaling]:
    """Return every stack that was measured in more than one size, by workload and depth."""
    stacks = run.run.experiment.get("stacks") or {}
    alike: dict[tuple[PanelKey, int, str], list[Cell]] = defaultdict(list)
    for cell in run.cells:
        stack = stacks.get(cell.stack)
        if stack and cell.iops and cell.panel.direction != "sync":
            alike[cell.panel, cell.inflight_count, _without_size(stack)].append(cell)
    return [
        _scaling(panel, depth, cells, stacks)
        for (panel, depth, _), cells in alike.items()
        if len({size_of(stacks[cell.stack]) for cell in cells}) > 1
    ]


def inner_sizes(found: Iterable[Scaling]) -> set[str]:
    """Return the stacks of all sizes but the least and the greatest of each scaling."""
    inner, ends = set(), set()
    for scaling in found:
        points = sorted(scaling.points, key=lambda one: (one.size.total, one.size.cores or 0))
        ends |= {points[0].cell.stack, points[-1].cell.stack}
        inner |= {point.cell.stack for point in points}
    return inner - ends


def size_of(stack: Stack) -> Size:
    """Return the size of a stack as the resolved experiment has it."""
    cores = None
    if str(stack.get("server", "none")).startswith("spdk-"):
        listed = len(parse_cpu_list(stack["server_cpus"])) if stack.get("server_cpus") else 1
        cores = stack.get("server_cores") or listed
    return Size(cores, stack.get("guests", 1), stack.get("devices", 1))


def _without_size(stack: Stack) -> str:
    kept = {key: value for key, value in stack.items() if key not in _SIZES}
    return json.dumps(kept, sort_keys=True)


def _scaling(
    panel: PanelKey, depth: int, cells: Sequence[Cell], stacks: Mapping[str, Stack]
) -> Scaling:
    stack = stacks[cells[0].stack]
    sized = sorted(((size_of(stacks[cell.stack]), cell) for cell in cells), key=lambda one: one[0])
    lines: dict[LineKey, list[Point]] = defaultdict(list)
    is_swept_within = len({size.devices for size, _ in sized}) > 1
    for size, cell in sized:
        key = LineKey(size.cores, size.guests if is_swept_within else None)
        lines[key] += _points(size, cell, sized)
    return Scaling(
        panel, depth, _name([cell.stack for cell in cells]), _path(stack, cells[0]),
        {key: tuple(points) for key, points in lines.items()},
    )  # fmt: skip


def _points(size: Size, cell: Cell, sized: Iterable[tuple[Size, Cell]]) -> list[Point]:
    """Return the cell's point; nothing where no IOPS were measured."""
    alike = [one for one in sized if one[0].cores == size.cores]
    reference, measured = min(alike, key=lambda one: (one[0].total, one[0]))
    found = ranking.share(cell, measured)
    share = _a_device(found, size, reference) if found else None
    return [Point(size, cell, cell.iops, reference, share)] if cell.iops else []


def _a_device(share: ranking.Share, size: Size, reference: Size) -> ranking.Share:
    """Return the share of all devices' IOPS as one of a device's."""
    if size == reference:
        return ranking.Share(share.ceiling, 100.0, 100.0, 100.0)
    factor = reference.total / size.total
    return ranking.Share(
        share.ceiling,
        share.percent * factor,
        share.low_percent * factor,
        share.high_percent * factor,
    )


def _name(names: Sequence[str]) -> str:
    bare = {_SIZE_IN_NAME.sub("", name) for name in names}
    return bare.pop() if len(bare) == 1 else ", ".join(names)


def _path(stack: Stack, cell: Cell) -> str:
    """Return ``"bdev_malloc 64.0 MiB, vfio-user, fio xnvme, uio_pci_generic"``."""
    backend = stack.get("backend") or {}
    size = [units.bytes_(backend["size_mib"] * 2.0**20)] if backend.get("size_mib") else []
    told = [" ".join([str(backend.get("kind", "none")), *size]), str(stack.get("transport", ""))]
    one_core = {**stack, "server_cores": None}
    return ", ".join([*filter(None, told), layer_rules.driven_by(one_core, cell.ioengine)])
