# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every CPU layout, on random machines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import (
    Layout,
    TooFewCpusError,
    lay_out,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import (
    HOUSEKEEPING,
    SMT_POLICIES,
    Request,
    make_request,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import Cpu, Topology

# A machine is a list of nodes, a node a list of L3 groups, a group the widths of
# its cores.


def build(nodes: list[list[list[int]]], *, efficient: bool = False) -> Topology:
    """A machine whose CPUs are numbered as Linux does: first threads of all, then siblings."""
    widths = [width for node in nodes for group in node for width in group]
    second = iter(range(len(widths), sum(widths)))
    cores = [(n, n, *(next(second) for _ in range(w - 1)))[1:] for n, w in enumerate(widths)]
    cpus = []
    left = iter(cores)
    for node, groups in enumerate(nodes):
        for group in groups:
            members = [next(left) for _ in group]
            l3 = tuple(sorted(cpu for core in members for cpu in core))
            cpus += [
                Cpu(cpu, core[0], node, core, l3, node, _kind(core, efficient=efficient))
                for core in members
                for cpu in core
            ]
    online = tuple(range(sum(widths)))
    return Topology(online, online, online, tuple(sorted(cpus, key=lambda cpu: cpu.number)))


def _kind(core: tuple[int, ...], *, efficient: bool) -> str | None:
    """On a hybrid machine cores with one thread are the efficient ones."""
    return ("efficiency" if len(core) == 1 else "performance") if efficient else None


@st.composite
def machines(draw: st.DrawFn) -> list[list[list[int]]]:
    width = draw(st.sampled_from([st.just(1), st.just(2), st.integers(1, 2)]))
    group = st.lists(width, min_size=1, max_size=4)
    return draw(st.lists(st.lists(group, min_size=1, max_size=3), min_size=1, max_size=3))


REQUESTS = st.builds(
    make_request,
    st.fixed_dictionaries(
        {
            "housekeeping_cores": st.integers(1, 3),
            "targets": st.lists(st.fixed_dictionaries({"cores": st.integers(1, 4)}), max_size=2),
            "guests": st.lists(
                st.fixed_dictionaries({"vcpus": st.integers(1, 6), "iothreads": st.integers(0, 2)}),
                max_size=3,
            ),
            "smt": st.sampled_from(SMT_POLICIES),
        }
    ),
    st.sampled_from([None, 0, 1, 2]),
)
random_cases = settings(max_examples=100, deadline=None)


def missing_by_formula(nodes: list[list[list[int]]], request: Request) -> int:
    """The cores that lack, from counting alone.

    Pairs of threads want a wide core or two narrow ones, single threads any core; the boot core is
    housekeeping's, whose other cores are like single threads.
    """
    widths = [width for node in nodes for group in node for width in group]
    widest, rest = max(widths), widths[1:]
    singles, pairs = request.housekeeping.count - 1, 0
    for role in request.roles[1:]:
        paired = 0 if role.alone or widest == 1 else role.count // 2
        pairs += paired
        singles += role.count - 2 * paired
    narrow, wide = rest.count(1), rest.count(2)
    for more in range(1000):
        n, w = (narrow + more, wide) if widest == 1 else (narrow, wide + more)
        if singles + 2 * max(0, pairs - w) <= n + max(0, w - pairs):
            return more
    raise AssertionError


@random_cases
@given(machines(), REQUESTS, st.booleans())
def test_everybody_is_served_or_the_exact_number_is_named(
    nodes: list[list[list[int]]],
    request: Request,
    hybrid: bool,  # noqa: FBT001
) -> None:
    """Counts are met with no CPU twice and no core in two roles; else so many cores are missing."""
    missing = missing_by_formula(nodes, request)
    topology = build(nodes, efficient=hybrid)
    if missing:
        with pytest.raises(TooFewCpusError) as caught:
            lay_out(topology, request)
        assert caught.value.missing_cores == missing
        widest = max(width for node in nodes for group in node for width in group)
        nodes = [*nodes[:-1], [*nodes[-1], [widest] * missing]]
        topology = build(nodes, efficient=hybrid)
    check_layout(topology, request, lay_out(topology, request))


def check_layout(topology: Topology, request: Request, layout: Layout) -> None:
    """Every rule of a layout without overcommit."""
    cores = {cpu.number: cpu.siblings for cpu in topology.cpus}
    owner: dict[tuple[int, ...], int] = {}
    seen: list[int] = []
    assert [one.role for one in layout.assignments] == list(request.roles)
    for number, one in enumerate(layout.assignments):
        used = {cores[cpu] for cpu in one.cpus}
        seen.extend(one.cpus)
        if one.role.kind == HOUSEKEEPING:
            assert len(used) == one.role.count
            assert set(one.cpus) == {cpu for core in used for cpu in core}
            assert 0 in one.cpus
        else:
            assert len(one.cpus) == one.role.count
            assert not one.role.alone or len(used) == one.role.count
        for core in used:
            assert owner.setdefault(core, number) == number
    every = [*seen, *layout.idle, *layout.spare]
    assert sorted(every) == list(topology.online)
    assert set(layout.isolated) == set(topology.online) - set(layout.housekeeping)
    assert {cores[cpu] for cpu in layout.idle} <= set(owner)
    assert {cores[cpu] for cpu in layout.spare}.isdisjoint(owner)
    assert layout.taints == ()


@random_cases
@given(machines(), REQUESTS)
def test_same_input_same_layout(nodes: list[list[list[int]]], request: Request) -> None:
    """Two calls agree, down to the words of a refusal."""

    def outcome() -> Layout | str:
        try:
            return lay_out(build(nodes), request)
        except TooFewCpusError as error:
            return str(error)

    assert outcome() == outcome()


@random_cases
@given(machines(), REQUESTS)
def test_overcommit_taints_exactly_when_it_must(
    nodes: list[list[list[int]]], request: Request
) -> None:
    """There is always a layout; it has reasons if and only if cores are missing."""
    missing = missing_by_formula(nodes, request)
    generous = Request(request.housekeeping, request.units, request.device_node, overcommit=True)
    layout = lay_out(build(nodes), generous)
    assert bool(layout.taints) == bool(missing)
    for one in layout.assignments:
        assert one.cpus
        assert len(set(one.cpus)) == len(one.cpus)


def cores_of_unit(unit: tuple[Any, ...], width: int) -> int:
    """The cores that a unit needs where each has so many threads."""
    return sum(r.count if r.alone else -(-r.count // width) for r in unit)


@random_cases
@given(
    st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=3),
    st.integers(1, 2),
    REQUESTS,
)
def test_node_and_cache_are_respected(sizes: list[list[int]], width: int, request: Request) -> None:
    """With room on the device's node, or in one cache, nothing is elsewhere."""
    topology = build([[[width] * cores for cores in node] for node in sizes])
    try:
        layout = lay_out(topology, request)
    except TooFewCpusError:
        return
    need = sum(cores_of_unit(unit, width) for unit in request.units)
    by_number = {cpu.number: cpu for cpu in topology.cpus}
    free = [cpu for cpu in topology.cpus if cpu.number not in layout.housekeeping]
    rooms: dict[int, list[int]] = {}
    for cpu in free:
        rooms.setdefault(cpu.node, []).append(cpu.number)
    node = request.device_node
    placed = [by_number[cpu] for one in layout.assignments[1:] for cpu in one.cpus]
    if node is None:
        if any(len(room) >= need * width for room in rooms.values()):
            assert len({cpu.node for cpu in placed}) <= 1
        return
    if len(rooms.get(node, ())) >= need * width:
        assert {cpu.node for cpu in placed} <= {node}
        caches = [cpu.l3 for cpu in free if cpu.node == node]
        if any(caches.count(l3) >= need * width for l3 in caches):
            assert len({cpu.l3 for cpu in placed}) <= 1
