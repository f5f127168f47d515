# SPDX-License-Identifier: GPL-3.0-or-later
"""The staircase: what each layer of a path adds, from the backend alone to a guest. Pure.

Only stacks on the same kind and size of backend, under the same workload, stand on one staircase;
:mod:`nvmelab.show.layer_rules` says on what each of them stands. Latencies are fio's ``lat``, from
the making of an I/O to its completion: what SPDK's clients tell is that, and it is the one figure
that every client has.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nvmelab import units
from nvmelab.show import background, layer_rules, log_scale, ranking, stats, wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nvmelab.show.log_scale import LogScale
    from nvmelab.show.summary import Cell, PanelKey, RunSummary


class Backend(NamedTuple):
    """What must be equal for two stacks to stand on one staircase."""

    kind: str
    size_mib: int | None

    def __str__(self) -> str:
        size = units.bytes_(self.size_mib * 2.0**20) if self.size_mib else ""
        return f"{self.kind} {size}".strip()


@dataclass(frozen=True, slots=True)
class Cost:
    """By how many ns an I/O takes longer than on the layer below, one I/O in flight.

    Median minus median; ``low_ns``, ``high_ns``: what the extremes of both would give. ``state``:
    see :class:`nvmelab.show.stats.Difference`.
    """

    ns: float
    low_ns: float
    high_ns: float
    n: int
    n_below: int
    state: Literal["unknown", "none", "apart", "shown"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One stack of a staircase. ``below``: the stack that it stands on, ``None`` at the bottom.

    ``latency``: with one I/O in flight; ``None`` when that was not measured. ``cells``: by I/Os in
    flight. ``driven_by``: what sets it apart from its siblings.
    """

    stack: str
    step: int
    driven_by: str
    below: Layer | None
    cells: Mapping[int, Cell]
    cost: Cost | None

    def over(self) -> str | None:
        """Return the name of what it is compared with."""
        return self.below.stack if self.below else None

    @property
    def latency(self) -> stats.Spread | None:
        """Of one I/O alone."""
        alone = self.cells.get(1)
        return alone.lat_mean_ns if alone else None

    @property
    def verdict(self) -> str:
        """Of all that the line tells: its own cells and those of the layer below."""
        cells = [*self.cells.values(), *(self.below.cells.values() if self.below else ())]
        states = {cell.verdict for cell in cells}
        state = next((one for one in ("tainted", "unknown", "clean") if one in states), "unknown")
        codes = ", ".join(background.codes(reason for cell in cells for reason in cell.reasons))
        return f"{state} ({codes})" if codes else state

    def share(self, inflight_count: int, of: Layer | None) -> ranking.Share | None:
        """Return its IOPS as percent of another layer's at this depth; ``None`` if one lacks."""
        cell = self.cells.get(inflight_count)
        other = of.cells.get(inflight_count) if of else None
        return ranking.share(cell, other) if cell and other else None


class Siblings(NamedTuple):
    """Layers of one step that stand on the same layer, or on none; ``over`` is its name."""

    step: int
    over: str | None
    layers: tuple[Layer, ...]


class FioAlone(NamedTuple):
    """fio's null engine under the workload of a staircase: what fio itself takes of an I/O.

    It has no backend, so it stands on no layer and nothing stands on it.
    """

    stack: str
    runs_on: str
    latency: stats.Spread
    verdict: str

    def __str__(self) -> str:
        one = self.latency
        spread = f" [{wording.between(one.low, one.high, units.ns)}]" if one.n > 1 else ""
        where = "on the host" if self.runs_on == "host" else "in the guest"
        told = f"fio's null engine {where} ({self.stack}): {units.ns(one.median)}{spread}"
        return f"{told} an I/O alone, n={one.n}, {self.verdict}"


@dataclass(frozen=True, slots=True)
class Staircase:
    """The layers of one workload on one backend, from the bottom; siblings beside each other."""

    panel: PanelKey
    backend: Backend
    layers: tuple[Layer, ...]
    fio_alone: tuple[FioAlone, ...] = ()

    @property
    def depths(self) -> list[int]:
        """The numbers of I/Os in flight that any layer was measured with."""
        return sorted({depth for layer in self.layers for depth in layer.cells})

    @property
    def has_latencies(self) -> bool:
        """Whether any layer was measured with one I/O in flight, which costs are told of."""
        return any(layer.latency for layer in self.layers)

    @property
    def siblings(self) -> Iterator[Siblings]:
        """The layers in groups that are compared with the same one."""
        for step, layers in itertools.groupby(self.layers, key=lambda layer: layer.step):
            for over, found in itertools.groupby(layers, key=Layer.over):
                yield Siblings(step, over, tuple(found))

    @property
    def scale(self) -> LogScale:
        """The scale, in ns, of the bars of all latencies."""
        spreads = [one.latency for one in self.layers if one.latency]
        return log_scale.around(end for one in spreads for end in (one.low, one.high))


def staircases(run: RunSummary) -> list[Staircase]:
    """Return every staircase of the run on which some layer stands on another."""
    stacks = run.run.experiment.get("stacks") or {}
    by_place: dict[tuple[PanelKey, Backend], dict[str, dict[int, Cell]]] = {}
    for cell in run.cells:
        place = _place(cell, stacks.get(cell.stack) or {})
        if place is not None:
            found = by_place.setdefault(place, defaultdict(dict))
            found[cell.stack][cell.inflight_count] = cell
    noise = stats.noise(one.lat_mean_ns for one in run.cells if one.lat_mean_ns)
    made = [
        Staircase(panel, backend, _layers(cells, stacks, noise), _fio_alone(run.cells, panel))
        for (panel, backend), cells in by_place.items()
    ]
    return [one for one in made if any(layer.below for layer in one.layers)]


def _place(cell: Cell, stack: Mapping[str, Any]) -> tuple[PanelKey, Backend] | None:
    """Return where a cell belongs; nowhere when it is no single path to one backend."""
    backend = stack.get("backend") or {}
    is_single = cell.panel.numjobs == 1 and stack.get("devices", 1) == stack.get("guests", 1) == 1
    if backend.get("kind", "none") == "none" or not is_single or cell.panel.direction == "sync":
        return None
    return cell.panel, Backend(str(backend["kind"]), backend.get("size_mib"))


def _fio_alone(cells: Iterable[Cell], panel: PanelKey) -> tuple[FioAlone, ...]:
    """Return each null engine that was measured by the panel's workload, one I/O in flight."""
    return tuple(
        FioAlone(cell.stack, cell.runs_on, cell.lat_mean_ns, cell.verdict)
        for cell in cells
        if cell.ioengine == "null" and cell.panel == panel
        if cell.inflight_count == 1 and cell.lat_mean_ns
    )


def _layers(
    cells: Mapping[str, Mapping[int, Cell]],
    stacks: Mapping[str, Mapping[str, Any]],
    noise: stats.Noise | None,
) -> tuple[Layer, ...]:
    measured = {name: stack for name, stack in stacks.items() if name in cells}
    layers: dict[str, Layer] = {}
    # A base is of a lower step, so it is made before those that stand on it.
    for name in sorted(measured, key=lambda name: layer_rules.step_of(measured[name])):
        base = layer_rules.base_of(measured[name], measured)
        below = layers[base] if base else None
        layers[name] = _layer(name, measured[name], cells[name], below, noise)
    places = {name: place for place, name in enumerate([None, *layers])}
    return tuple(sorted(layers.values(), key=lambda one: (one.step, places[one.over()])))


def _layer(
    name: str,
    stack: Mapping[str, Any],
    cells: Mapping[int, Cell],
    below: Layer | None,
    noise: stats.Noise | None,
) -> Layer:
    engine = next(iter(cells.values())).ioengine
    layer = Layer(
        stack=name,
        step=layer_rules.step_of(stack),
        driven_by=layer_rules.driven_by(stack, engine),
        below=below,
        cells=dict(cells),
        cost=None,
    )
    return replace(layer, cost=_cost(layer, below, noise))


def _cost(layer: Layer, below: Layer | None, noise: stats.Noise | None) -> Cost | None:
    one, other = layer.latency, below.latency if below else None
    if one is None or other is None:
        return None
    return Cost(
        ns=one.median - other.median,
        low_ns=one.low - other.high,
        high_ns=one.high - other.low,
        n=one.n,
        n_below=other.n,
        state=stats.difference(one, other, noise).state,
    )


def cost_text(cost: Cost | None) -> str:
    """Return ``"+853 ns"``, ``"no difference shown"``, or that its spread is not known."""
    if cost is None:
        return units.NOT_MEASURED
    if cost.state == "none":
        return ranking.NO_DIFFERENCE
    text = _signed(cost.ns)
    return f"{text} (n=1: spread unknown)" if cost.state == "unknown" else text


def cost_range(cost: Cost | None) -> str:
    """Return ``"[+821 ns to +884 ns]"``; nothing where a single repetition has no spread."""
    if cost is None or cost.state == "unknown":
        return ""
    return f"[{_signed(cost.low_ns)} to {_signed(cost.high_ns)}]"


def share_text(share: ranking.Share | None) -> str:
    """Return ``"20.5 %"``."""
    return wording.percent(share.percent if share else None)


def _signed(value_ns: float) -> str:
    sign = "\N{MINUS SIGN}" if value_ns < 0 else "+"
    return f"{sign}{units.ns(abs(value_ns))}"
