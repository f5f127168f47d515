# SPDX-License-Identifier: GPL-3.0-or-later
"""A layout as a picture, as kernel arguments, and as a plan's CPU lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cpu_topologies import MACHINES, load_topology

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import Layout, lay_out
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout_text import (
    kernel_args,
    layout_dict,
    picture,
    pinning,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import make_request
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import Topology

TWO_GUESTS: dict[str, Any] = {
    "housekeeping_cores": 1,
    "targets": [{"name": "spdk", "cores": 1}],
    "guests": [{"name": "one", "vcpus": 2, "iothreads": 1}, {"name": "two", "vcpus": 2}],
    "overcommit": True,
}


def lay(folder: Path, name: str, options: dict[str, Any]) -> tuple[Topology, Layout]:
    """A fixture's topology and its layout."""
    topology = load_topology(folder, name)
    return topology, lay_out(topology, make_request(options))


def test_reference_arguments(tmp_path: Path) -> None:
    """Eight cores, 0-1 housekeeping: the arguments of the reference, in its order."""
    _, layout = lay(tmp_path, "ryzen-5800x-nosmt", {})
    wanted = "isolcpus=2-7 nohz_full=2-7 rcu_nocbs=2-7 irqaffinity=0-1"
    assert " ".join(kernel_args(layout)) == wanted


def test_no_argument_without_an_isolated_cpu(tmp_path: Path) -> None:
    """`isolcpus=` with nothing after it would be an error, so there is none."""
    topology, layout = lay(tmp_path, "one-cpu-vm", {"housekeeping_cores": 1})
    assert kernel_args(layout) == []
    assert picture(topology, layout).splitlines()[-1] == (
        "kernel arguments: none, no CPU is isolated"
    )


def test_pinning_is_what_a_plan_takes(tmp_path: Path) -> None:
    """CPU lists for target.cpus, guest.cpus and guest.iothread_cpus; null for no IOThread."""
    _, layout = lay(tmp_path, "ryzen-5800x-nosmt", TWO_GUESTS)
    assert pinning(layout) == {
        "targets": [{"name": "spdk", "cpus": "1"}],
        "guests": [
            {"name": "one", "vcpus": 2, "cpus": "2-3", "iothreads": 1, "iothread_cpus": "4"},
            {"name": "two", "vcpus": 2, "cpus": "5-6", "iothreads": 0, "iothread_cpus": None},
        ],
    }


def test_no_list_that_a_plan_would_refuse(tmp_path: Path) -> None:
    """A guest with more vCPUs than the machine has CPUs is left unpinned."""
    _, layout = lay(tmp_path, "one-cpu-vm", TWO_GUESTS)
    guest = pinning(layout)["guests"][0]
    assert (guest["cpus"], guest["iothread_cpus"]) == (None, "0")


def test_picture_of_a_desktop(tmp_path: Path) -> None:
    """The whole picture, by hand."""
    topology, layout = lay(tmp_path, "ryzen-5800x", TWO_GUESTS | {"overcommit": False})
    assert picture(topology, layout, 0).splitlines() == [
        "H    housekeeping: 0,8",
        "T0   target spdk: 1",
        "V0   vCPUs of one: 2,10",
        "I0   IOThreads of one: 3",
        "V1   vCPUs of two: 4,12",
        "-    idle beside its sibling: 9,11",
        ".    spare: 5-7,13-15",
        "",
        "package 0, node 0 (the device's), L3 of 0-15",
        "  [0 H | 8 H]     [1 T0 | 9 -]    [2 V0 | 10 V0]  [3 I0 | 11 -]",
        "  [4 V1 | 12 V1]  [5 . | 13 .]    [6 . | 14 .]    [7 . | 15 .]",
        "",
        "kernel arguments: isolcpus=1-7,9-15 nohz_full=1-7,9-15 rcu_nocbs=1-7,9-15 irqaffinity=0,8",
    ]


def test_picture_shows_kinds_sharing_and_what_is_off(tmp_path: Path) -> None:
    """Efficiency cores have their mark, shared CPUs all of theirs; offline CPUs are named."""
    hybrid = picture(*lay(tmp_path / "a", "core-i7-1260p", {}))
    assert "~[8 H]" in hybrid
    assert "~    an efficiency core" in hybrid
    shared = picture(*lay(tmp_path / "b", "one-cpu-vm", TWO_GUESTS))
    assert "[0 H+T0+V0+I0+V1]" in shared
    assert "\ntainted: target spdk: 1 of 1 share" in shared
    assert "offline: 3,6,11" in picture(*lay(tmp_path / "c", "xeon-e-2288g-offline", {}))


@pytest.mark.parametrize("name", MACHINES)
def test_picture_shows_every_cpu_once_as_the_lists_do(tmp_path: Path, name: str) -> None:
    """What the brackets show is what the legend lists; lines fit a terminal of 100 columns."""
    topology, layout = lay(tmp_path, name, TWO_GUESTS)
    text = picture(topology, layout)
    drawn: dict[str, set[int]] = {}
    shown = []
    for bracket in re.findall(r"\[(.*?)\]", text):
        for thread in bracket.split(" | "):
            cpu, marks = thread.split(" ")
            shown.append(int(cpu))
            for mark in marks.split("+"):
                drawn.setdefault(mark, set()).add(int(cpu))
    assert sorted(shown) == list(topology.online)
    legend = re.findall(r"^(\S+) +[^:\n]+: (\S+)$", text.split("\n\n")[0], re.MULTILINE)
    assert {mark: set(parse_cpu_list(cpus)) for mark, cpus in legend} == drawn
    assert all(len(line) <= 100 for line in text.splitlines() if "[" in line)


def test_record_of_a_clean_and_a_tainted_layout(tmp_path: Path) -> None:
    """CPU lists are text, an empty one is null, and the verdict carries its reasons."""
    _, clean = lay(tmp_path / "a", "ryzen-5800x-nosmt", {"targets": [{"cores": 1}]})
    assert layout_dict(clean) == {
        "schema_version": 1,
        "housekeeping": "0-1",
        "isolated": "2-7",
        "idle": None,
        "spare": "3-7",
        "roles": [
            {"kind": "housekeeping", "owner": None, "count": 2, "cpus": "0-1"},
            {"kind": "target", "owner": "target0", "count": 1, "cpus": "2"},
        ],
        "verdict": {"state": "clean", "reasons": []},
        "remarks": [],
    }
    _, poor = lay(tmp_path / "b", "one-cpu-vm", {"overcommit": True})
    assert layout_dict(poor)["verdict"] == {
        "state": "tainted",
        "reasons": [{"code": "cpu_overcommit", "text": "housekeeping: 1 of 2 cores missing"}],
    }
