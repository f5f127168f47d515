# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which CPU on real machines, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cpu_topologies import load_topology, make_sysfs

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import (
    Layout,
    TooFewCpusError,
    lay_out,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import (
    make_request,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import (
    Topology,
    read_topology,
)

SPDK_AND_GUEST = {
    "targets": [{"name": "spdk", "cores": 2}],
    "guests": [{"vcpus": 3, "iothreads": 1}],
}


def small_machine(root: Path, nodes: dict[int, str], packages: list[str]) -> Topology:
    """A machine without SMT, with an L3 cache a node."""
    cores = [
        {"threads": [cpus], "package": number, "core_ids": cpus}
        for number, cpus in enumerate(packages)
    ]
    every = f"0-{max(parse_cpu_list(','.join(packages)))}"
    spec = {"present": every, "online": every, "cores": cores, "l3": [*nodes.values()]}
    return read_topology(make_sysfs(root, {**spec, "nodes": nodes}))


def lists(layout: Layout) -> list[str]:
    """The CPUs of each role, in order."""
    return [format_cpu_list(one.cpus) for one in layout.assignments]


@pytest.mark.parametrize(
    ("name", "node", "options", "expected", "idle"),
    [
        ("ryzen-5800x-nosmt", None, {}, ["0-1"], ""),
        ("ryzen-5800x-nosmt", None, SPDK_AND_GUEST, ["0-1", "2-3", "4-6", "7"], ""),
        # Three vCPUs need two cores, whose fourth thread stays idle, as do pollers' siblings.
        ("ryzen-5800x", None, SPDK_AND_GUEST, ["0-1,8-9", "2-3", "4-5,12", "6"], "10-11,13-14"),
        (
            "ryzen-5800x",
            None,
            SPDK_AND_GUEST | {"smt": "alone", "housekeeping_cores": 1},
            ["0,8", "1-2", "3-5", "6"],
            "9-14",
        ),
        (
            "ryzen-5800x",
            None,
            SPDK_AND_GUEST | {"smt": "shared"},
            ["0-1,8-9", "2,10", "3-4,11", "5"],
            "12-13",
        ),
        # Housekeeping: the boot core, then an efficiency core; pollers on performance cores.
        ("core-i7-1260p", None, SPDK_AND_GUEST, ["0-1,8", "2,4", "6-7,9", "10"], "3,5"),
        # The second die of node 2 would do as well; the first has the lower numbers.
        (
            "epyc-9554p-nps4",
            2,
            SPDK_AND_GUEST,
            ["0-1,64-65", "32-33", "34-35,98", "36"],
            "96-97,99-100",
        ),
        # Without a device: all on one die, but not on that of housekeeping when it is too full.
        (
            "epyc-9554p-nps4",
            None,
            {"targets": [{"cores": 4}], "guests": [{"vcpus": 4, "iothreads": 1}]},
            ["0-1,64-65", "8-11", "12-13,76-77", "14"],
            "72-75,78",
        ),
        (
            "xeon-gold-6338-2s",
            1,
            SPDK_AND_GUEST,
            ["0-1,64-65", "32-33", "34-35,98", "36"],
            "96-97,99-100",
        ),
        # No die has room for all: the target in the one that is left smaller by housekeeping.
        (
            "epyc-9554p-nps4",
            None,
            {"targets": [{"cores": 3}], "guests": [{"vcpus": 12, "iothreads": 1}]},
            ["0-1,64-65", "2-4", "8-13,72-77", "14"],
            "66-68,78",
        ),
        ("one-cpu-vm", None, {"housekeeping_cores": 1}, ["0"], ""),
        # CPU 14 has no sibling: the poller there, not on core 1, leaves ten CPUs for ten vCPUs.
        (
            "xeon-e-2288g-offline",
            None,
            {"housekeeping_cores": 1, "targets": [{"cores": 1}], "guests": [{"vcpus": 10}]},
            ["0,8", "14", "1-2,4-5,7,9-10,12-13,15"],
            "",
        ),
    ],
)
def test_real_machines(
    tmp_path: Path,
    name: str,
    node: int | None,
    options: dict[str, Any],
    expected: list[str],
    idle: str,
) -> None:
    """Layouts that were worked out by hand; nothing of them is tainted."""
    layout = lay_out(load_topology(tmp_path, name), make_request(options, node))
    assert lists(layout) == expected
    assert format_cpu_list(layout.idle) == idle
    assert layout.taints == ()


def test_reference(tmp_path: Path) -> None:
    """Eight cores without SMT: 0-1 for the host, 2-7 isolated."""
    layout = lay_out(load_topology(tmp_path, "ryzen-5800x-nosmt"), make_request({}))
    assert (layout.housekeeping, layout.isolated) == ((0, 1), (2, 3, 4, 5, 6, 7))


@pytest.mark.parametrize(
    ("name", "options", "missing"),
    [
        ("one-cpu-vm", {}, 1),
        ("ryzen-5800x-nosmt", {"targets": [{"cores": 5}], "guests": [{"vcpus": 4}]}, 3),
        # 2 + 5 cores, and 2 for the vCPUs.
        ("ryzen-5800x", {"targets": [{"cores": 5}], "guests": [{"vcpus": 4}]}, 1),
    ],
)
def test_too_few_says_how_many_more(
    tmp_path: Path, name: str, options: dict[str, Any], missing: int
) -> None:
    """The number of cores, what was asked for, what is there, and the way out."""
    with pytest.raises(TooFewCpusError) as caught:
        lay_out(load_topology(tmp_path, name), make_request(options))
    assert caught.value.missing_cores == missing
    text = str(caught.value)
    assert f"{missing} more core" in text
    assert "housekeeping 2" in text
    assert "overcommit: true" in text


def test_overcommit_gives_and_taints(tmp_path: Path) -> None:
    """Four vCPUs that find two free CPUs share with those who sleep, not with the poller."""
    options = {"targets": [{"cores": 4}], "guests": [{"vcpus": 4}], "overcommit": True}
    layout = lay_out(load_topology(tmp_path, "ryzen-5800x-nosmt"), make_request(options))
    assert lists(layout) == ["0-1", "2-5", "0-1,6-7"]
    assert layout.taints == ("vCPUs of guest0: 2 of 4 share CPUs or cores of other roles (0-1)",)


def test_overcommit_wakes_idle_siblings_first(tmp_path: Path) -> None:
    """Siblings are busy before any CPU has two tenants."""
    options = {"targets": [{"cores": 6}], "guests": [{"vcpus": 2}], "overcommit": True}
    layout = lay_out(load_topology(tmp_path, "ryzen-5800x"), make_request(options))
    assert lists(layout) == ["0-1,8-9", "2-7", "10-11"]
    assert layout.taints == ("vCPUs of guest0: 2 of 2 share CPUs or cores of other roles (10-11)",)


def test_overcommit_wakes_siblings_of_pollers_last(tmp_path: Path) -> None:
    """The third guest goes beside the first one, not beside a poller."""
    options = {
        "housekeeping_cores": 1,
        "targets": [{"cores": 5}],
        "guests": [{"vcpus": 1}, {"vcpus": 1}, {"vcpus": 1}],
        "overcommit": True,
    }
    layout = lay_out(load_topology(tmp_path, "ryzen-5800x"), make_request(options))
    assert lists(layout) == ["0,8", "1-5", "6", "7", "14"]


def test_overcommit_stays_where_most_of_a_role_is(tmp_path: Path) -> None:
    """Of CPUs with as much other work the one on the node of its own."""
    machine = small_machine(tmp_path, {0: "0-1", 1: "2-6"}, ["0-6"])
    guests = [{"vcpus": 2}, {"vcpus": 5}]
    options = {"housekeeping_cores": 1, "guests": guests, "overcommit": True}
    assert lists(lay_out(machine, make_request(options))) == ["0", "2-3", "1-2,4-6"]


def test_the_other_node_of_the_package_comes_before_other_packages(tmp_path: Path) -> None:
    """Two targets that share no node are on one socket, whatever the nodes' numbers."""
    nodes = {0: "0-1", 1: "4-5", 2: "2-3", 3: "6-7"}
    machine = small_machine(tmp_path, nodes, ["0-3", "4-7"])
    options = {"housekeeping_cores": 1, "targets": [{"cores": 2}, {"cores": 2}]}
    assert lists(lay_out(machine, make_request(options))) == ["0", "4-5", "6-7"]


def test_overcommit_spares_the_pollers(tmp_path: Path) -> None:
    """Two guests both go to the one CPU that does not poll, though it has more tenants then."""
    options = {
        "housekeeping_cores": 1,
        "targets": [{"cores": 7}],
        "guests": [{"vcpus": 1}, {"vcpus": 1}],
        "overcommit": True,
    }
    layout = lay_out(load_topology(tmp_path, "ryzen-5800x-nosmt"), make_request(options))
    assert lists(layout) == ["0", "1-7", "0", "0"]


def test_one_cpu_does_everything_under_overcommit(tmp_path: Path) -> None:
    """Nothing is isolated, and each role says what it lacks."""
    layout = lay_out(
        load_topology(tmp_path, "one-cpu-vm"),
        make_request({"targets": [{"cores": 1}], "guests": [{"vcpus": 2}], "overcommit": True}),
    )
    assert lists(layout) == ["0", "0", "0"]
    assert layout.isolated == ()
    assert layout.taints == (
        "housekeeping: 1 of 2 cores missing",
        "target target0: 1 of 1 share CPUs or cores of other roles (0)",
        "vCPUs of guest0: 1 of 2 share CPUs or cores of other roles (0), 1 of 2 have no CPU",
    )


def test_lists_never_leave_the_host_without_a_cpu(tmp_path: Path) -> None:
    """When lists name every CPU, housekeeping is missing whole, or shares with those who sleep."""
    topology = load_topology(tmp_path, "ryzen-5800x-nosmt")
    options = {"housekeeping_cores": 1, "targets": [{"cpus": "0-3"}], "guests": [{"cpus": "4-7"}]}
    with pytest.raises(TooFewCpusError, match="1 more core needed"):
        lay_out(topology, make_request(options))
    layout = lay_out(topology, make_request(options | {"overcommit": True}))
    assert (layout.housekeeping, layout.isolated) == ((4,), (0, 1, 2, 3, 5, 6, 7))
    assert layout.taints == ("housekeeping: 1 of 1 share CPUs or cores of other roles (4)",)


def test_lists_are_kept(tmp_path: Path) -> None:
    """Explicit CPUs stay; the others are placed round them, and their siblings idle."""
    options = {
        "housekeeping_cpus": "0,8",
        "targets": [{"cpus": "2,10"}, {"cores": 1}],
        "guests": [{"cpus": "1,9", "iothread_cpus": "4"}],
    }
    layout = lay_out(load_topology(tmp_path, "ryzen-5800x"), make_request(options))
    assert lists(layout) == ["0,8", "2,10", "3", "1,9", "4"]
    assert layout.idle == (11, 12)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ryzen-5800x", {"targets": [{"cpus": "2,16-17"}]}, "target0: CPUs 16-17 are absent"),
        ("ryzen-5800x-nosmt", {"guests": [{"cpus": "7-9"}]}, "guest0: CPUs 8-9 are offline"),
        ("xeon-e-2288g-offline", {"housekeeping_cpus": "2-3"}, "housekeeping: CPUs 3 are offline"),
        (
            "ryzen-5800x",
            {"targets": [{"cpus": "2-4"}], "guests": [{"cpus": "4-5"}]},
            "vCPUs of guest0: CPUs 4 are given to target target0 too",
        ),
        (
            "ryzen-5800x",
            {"housekeeping_cpus": "0-1", "targets": [{"cpus": "8"}]},
            "housekeeping and target target0 share the core of CPUs 0,8",
        ),
    ],
)
def test_refuses_bad_lists(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    """Absent, offline and overlapping CPUs are refused with role and CPUs."""
    with pytest.raises(BadInputError, match=message):
        lay_out(load_topology(tmp_path, name), make_request(options))


def test_overlap_is_refused_under_overcommit_too(tmp_path: Path) -> None:
    """A CPU in two lists is a typing error; siblings in two lists are a tainted wish."""
    topology = load_topology(tmp_path, "ryzen-5800x")
    siblings = {"housekeeping_cpus": "0", "targets": [{"cpus": "8"}], "overcommit": True}
    layout = lay_out(topology, make_request(siblings))
    assert layout.taints == ("housekeeping and target target0 share the core of CPUs 0,8",)
    with pytest.raises(BadInputError, match="CPUs 0 are given to housekeeping too"):
        lay_out(topology, make_request(siblings | {"targets": [{"cpus": "0"}]}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"housekeeping_cores": 0}, "housekeeping: found 0 CPUs"),
        ({"housekeeping_cores": 1, "housekeeping_cpus": "0"}, "give one of them"),
        ({"targets": [{}]}, "target target0: found 0 CPUs"),
        ({"guests": [{"vcpus": 1, "iothreads": -1}]}, "IOThreads of guest0: found -1"),
        ({"guests": [{"vcpus": 3, "cpus": "2-3"}]}, r"found 2 CPUs \(2-3\) for 3"),
        ({"guests": [{"name": "a", "vcpus": 1}] * 2}, "'a' is there twice"),
        ({"smt": "off"}, "wanted one of pollers_alone"),
        ({"targets": [{"cpus": "3-2"}]}, "CPU list '3-2'"),
    ],
)
def test_refuses_requests_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    """Counts below one, disagreeing counts and names that are twice never reach the layout."""
    with pytest.raises(BadInputError, match=message):
        make_request(options)


def test_remarks_tell_what_is_allowed_and_unwelcome(tmp_path: Path) -> None:
    """Efficiency cores, a far node, and a boot CPU that is isolated are said, not tainted."""
    hybrid = load_topology(tmp_path / "a", "core-i7-1260p")
    slow = lay_out(hybrid, make_request({"targets": [{"cores": 4}]}))
    assert slow.remarks == ("target target0: on efficiency cores (CPUs 9)",)
    xeon = load_topology(tmp_path / "b", "xeon-gold-6338-2s")
    far = lay_out(xeon, make_request({"housekeeping_cpus": "33", "targets": [{"cpus": "1"}]}, 1))
    assert [text.split(":")[0] for text in far.remarks] == [
        "CPU 0, which the kernel boots on, is not housekeeping",
        "target target0",
    ]
    assert "not on the device's node 1 (CPUs 1)" in far.remarks[1]
    assert "node 7 has no CPU" in lay_out(xeon, make_request({}, 7)).remarks[0]
