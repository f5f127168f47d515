# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a machine's topology from sysfs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cpu_topologies import MACHINES, load_topology, machine, make_sysfs

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import (
    Cpu,
    TopologyError,
    device_node,
    read_topology,
)


@pytest.mark.parametrize(
    ("name", "cpus", "cores", "l3s", "nodes"),
    [
        ("core-i7-1260p", 16, 12, 1, 1),
        ("xeon-gold-6338-2s", 128, 64, 2, 2),
        ("epyc-9554p-nps4", 128, 64, 8, 4),
        ("ryzen-5800x", 16, 8, 1, 1),
        ("ryzen-5800x-nosmt", 8, 8, 1, 1),
        ("one-cpu-vm", 1, 1, 1, 1),
        ("xeon-e-2288g-offline", 13, 7, 1, 1),
    ],
)
def test_counts_what_the_specification_says(
    tmp_path: Path, name: str, cpus: int, cores: int, l3s: int, nodes: int
) -> None:
    """CPUs, cores, L3 caches and nodes come out as the maker counts them."""
    found = load_topology(tmp_path, name).cpus
    assert len(found) == cpus
    assert len({cpu.siblings for cpu in found}) == cores
    assert len({cpu.l3 for cpu in found}) == l3s
    assert {cpu.node for cpu in found} == set(range(nodes))


@pytest.mark.parametrize("name", MACHINES)
def test_relations_are_mutual(tmp_path: Path, name: str) -> None:
    """Each CPU is its siblings' sibling, in their cache and node; only CPUs online are named."""
    topology = load_topology(tmp_path, name)
    by_number = {cpu.number: cpu for cpu in topology.cpus}
    assert tuple(by_number) == topology.online
    for cpu in topology.cpus:
        assert cpu.number in cpu.siblings
        for other in cpu.siblings:
            same = by_number[other]
            assert (same.siblings, same.l3, same.node) == (cpu.siblings, cpu.l3, cpu.node)
            assert (same.core_id, same.package) == (cpu.core_id, cpu.package)


def test_reads_one_cpu_whole(tmp_path: Path) -> None:
    """Every field of a CPU in the second socket, by hand."""
    cpu = load_topology(tmp_path, "xeon-gold-6338-2s").cpus[97]
    l3 = (*range(32, 64), *range(96, 128))
    assert cpu == Cpu(97, core_id=1, package=1, siblings=(33, 97), l3=l3, node=1)


def test_offline_cpus_have_no_siblings_left(tmp_path: Path) -> None:
    """CPU 14 is alone while 6 is off, and the three that are off are told."""
    topology = load_topology(tmp_path, "xeon-e-2288g-offline")
    assert topology.offline == (3, 6, 11)
    assert [cpu.siblings for cpu in topology.cpus if cpu.number == 14] == [(14,)]


def test_lists_that_name_offline_cpus_are_cut(tmp_path: Path) -> None:
    """Should a sibling or cache list still name what is off, no layout will hand it out."""
    sysfs = make_sysfs(tmp_path, machine("ryzen-5800x-nosmt"))
    cpu = sysfs / "devices/system/cpu/cpu0"
    (cpu / "topology/thread_siblings_list").write_text("0,8\n")
    (cpu / "cache/index2/shared_cpu_list").write_text("0-15\n")
    first = read_topology(sysfs).cpus[0]
    assert (first.siblings, first.l3) == ((0,), tuple(range(8)))


def test_intel_names_the_kinds(tmp_path: Path) -> None:
    """cpu_core and cpu_atom tell performance from efficiency cores."""
    kinds = [cpu.kind for cpu in load_topology(tmp_path, "core-i7-1260p").cpus]
    assert kinds == ["performance"] * 8 + ["efficiency"] * 8


@pytest.mark.parametrize(
    ("capacities", "efficient"), [((1024, 870, 325), [2]), ((1024, 1024, 1009), []), ((), [])]
)
def test_capacity_tells_the_kinds_elsewhere(
    tmp_path: Path, capacities: tuple[int, ...], efficient: list[int]
) -> None:
    """Little cores are efficiency cores; middle ones and small differences are not."""
    sysfs = make_sysfs(tmp_path, machine("ryzen-5800x") | {"online": "0-2"})
    for cpu, capacity in enumerate(capacities):
        folder = sysfs / f"devices/system/cpu/cpu{cpu}"
        (folder / "cpu_capacity").write_text(f"{capacity}\n")
    kinds = [cpu.kind for cpu in read_topology(sysfs).cpus]
    assert [cpu for cpu, kind in enumerate(kinds) if kind == "efficiency"] == efficient
    assert (None in kinds) == (not efficient)


def test_only_the_online_list_is_needed(tmp_path: Path) -> None:
    """A container's bare sysfs still gives CPUs, each a core of node 0."""
    sysfs = make_sysfs(tmp_path, machine("one-cpu-vm") | {"online": "0-0"})
    shutil.rmtree(sysfs / "devices/system/cpu/cpu0")
    (sysfs / "devices/system/cpu/possible").unlink()
    (sysfs / "devices/system/cpu/present").unlink()
    topology = read_topology(sysfs)
    assert topology.possible == topology.present == (0,)
    assert topology.cpus == (Cpu(0, core_id=0, package=-1, siblings=(0,), l3=(), node=0),)


def test_refuses_what_is_no_sysfs(tmp_path: Path) -> None:
    """The file that is missing is named."""
    with pytest.raises(TopologyError, match=r"cpu/online: no CPUs in it"):
        read_topology(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("thread_siblings_list", "0-"), ("core_id", "x")])
def test_names_the_file_it_cannot_read(tmp_path: Path, name: str, text: str) -> None:
    """Nonsense in a file is an error with its path, not a guess."""
    sysfs = make_sysfs(tmp_path, machine("one-cpu-vm"))
    (sysfs / "devices/system/cpu/cpu0/topology" / name).write_text(text)
    with pytest.raises(TopologyError, match=f"cpu0/topology/{name}.*'{text}'"):
        read_topology(sysfs)


@pytest.mark.parametrize(
    ("address", "node"),
    [("0000:81:00.0", 2), ("81:00.0", 2), ("0000:C1:00.0", None)],
)
def test_device_tells_its_node(tmp_path: Path, address: str, node: int | None) -> None:
    """The domain may be left out, letters may be large; -1 is no node."""
    sysfs = make_sysfs(tmp_path, machine("epyc-9554p-nps4"))
    assert device_node(address, sysfs) == node


@pytest.mark.parametrize(
    ("address", "message"),
    [("nvme0", "no PCI address"), ("../81:00.0", "no PCI address"), ("02:00.0", "not there")],
)
def test_refuses_a_device_that_is_not_there(tmp_path: Path, address: str, message: str) -> None:
    """A wrong address never means 'anywhere'."""
    sysfs = make_sysfs(tmp_path, machine("epyc-9554p-nps4"))
    with pytest.raises(BadInputError, match=message) as caught:
        device_node(address, sysfs)
    assert address in str(caught.value)
