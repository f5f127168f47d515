# SPDX-License-Identifier: GPL-3.0-or-later
"""Several devices in several guests in a plan: all there, none twice, each with CPUs of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cpu_topologies import machine, make_sysfs
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_examples import (
    GUEST_NULL,
    HEAD,
    HOST_RAM,
    NVME,
    STORAGE_DAEMON,
    VFIO_USER,
    debian_12,
    layout_for,
)
from plan_examples import experiment as example

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import SLOTS
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_layout import TooFewCpusError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import guests_of, needs
from nvmelab.errors import BadInputError
from nvmelab.plan.points import make_plan

RUN_ID = "20261121T090000Z-example-a1b2"


def sized(stack: str, *lines: str) -> str:
    """The stack with further keys."""
    return stack + "".join(f"    {line}\n" for line in lines)


def plan_of(*stacks: str, head: str = HEAD, capabilities: Any = None, layout: Any = None) -> Any:
    """The plan of an experiment with these stacks."""
    made = example(*stacks, head=head)
    return make_plan(made, capabilities, run_id=RUN_ID, cpu_layout=layout)


SIZES = st.lists(st.integers(1, 24), min_size=1, max_size=3, unique=True)
GUESTS = st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True)


@given(
    stacks=st.lists(
        st.tuples(st.sampled_from([NVME, STORAGE_DAEMON, VFIO_USER]), SIZES, GUESTS), max_size=4
    ),
    layout=st.sampled_from(["shared-guest", "guest-per-stack"]),
)
@settings(max_examples=40, deadline=None)
def test_every_device_is_there_once(stacks: list[Any], layout: str) -> None:
    """Names are unique in the plan, no slot is taken twice, a target serves each export once.

    Each point drives all devices of its stack and no other, in all its guests.
    """
    texts = [
        sized(text, f"devices: {devices}", f"guests: {guests}").replace(
            text[2 : text.index(":")], f"s{number}", 1
        )
        for number, (text, devices, guests) in enumerate(stacks)
    ]
    plan = plan_of(*texts, GUEST_NULL, HOST_RAM, head=HEAD + f"layout: {layout}\n")
    seen: list[str] = []
    for environment in plan["environments"].values():
        guests = guests_of(environment)
        for guest in guests:
            slots = [device["slot"] for device in guest["devices"]]
            assert len(set(slots)) == len(slots)
            assert set(slots) <= set(SLOTS)
            seen += [device["name"] for device in guest["devices"]]
        exports = [e["name"] for target in environment["targets"] for e in target["exports"]]
        served = [d["export"] for guest in guests for d in guest["devices"] if d["export"]]
        assert sorted(exports) == sorted(served)
        assert len(set(exports)) == len(exports)
    assert len(set(seen)) == len(seen)
    document = plan["experiment"]["document"]["stacks"]
    for point in plan["points"]:
        stack = document[point["stack"]]
        environment = plan["environments"][point["environment"]]
        assert ("parts" in point) == (stack["devices"] * stack["guests"] > 1)
        for part, guest in zip(point.get("parts", ()), guests_of(environment), strict=False):
            assert part["guest"] == guest["name"]
            assert len(part["devices"]) == stack["devices"]
            assert set(part["devices"]) <= {device["name"] for device in guest["devices"]}
        assert len(point.get("parts", [1])) == stack["guests"] or stack["runs_on"] == "host"


def test_names_of_devices_and_guests() -> None:
    """By hand: two devices in each of two guests, one target for all four."""
    plan = plan_of(sized(VFIO_USER, "devices: 2", "guests: 2", "server_cores: 3"))
    environment = plan["environments"]["guest-1"]
    (target,) = environment["targets"]
    names = ["spdk-vfio-user_1", "spdk-vfio-user_2", "spdk-vfio-user_g2_1", "spdk-vfio-user_g2_2"]
    assert [export["name"] for export in target["exports"]] == names
    assert (target["cores"], target["cpus"]) == (3, None)
    assert [guest["name"] for guest in guests_of(environment)] == ["guest-1_1", "guest-1_2"]
    assert plan["points"][0]["parts"] == [
        {"guest": "guest-1_1", "devices": names[:2]},
        {"guest": "guest-1_2", "devices": names[2:]},
    ]
    assert plan["points"][0]["device"] == names[0]


def test_24_devices_fit_one_guest_and_three_more_do_not() -> None:
    """Two more stacks of one device find room beside 24, the next goes into a second guest."""
    others = [NVME.replace("qemu-nvme", f"n{number}") for number in range(3)]
    plan = plan_of(sized(NVME, "devices: 24"), *others)
    counts = [len(one["guest"]["devices"]) for one in plan["environments"].values()]
    assert counts == [26, 1]


def test_sizes_that_differ_share_no_guest() -> None:
    """Two targets of one kind would poll the same cores at once; guests are up all or none."""
    plan = plan_of(
        sized(VFIO_USER, "server_cores: [1, 2]"), sized(NVME, "guests: [1, 2]"), GUEST_NULL
    )
    together: dict[str, set[str]] = {}
    for point in plan["points"]:
        together.setdefault(point["environment"], set()).add(point["stack"])
    assert together == {
        "guest-1": {"spdk-vfio-user-c1", "guest-null"},
        "guest-2": {"spdk-vfio-user-c2"},
        "guest-3": {"qemu-nvme-g1"},
        "guest-4": {"qemu-nvme-g2"},
    }


def test_a_host_too_small_skips_the_size_with_its_reason() -> None:
    """Memory of all guests and backends, and cores: what does not fit is a skip, not a failure."""
    ram = NVME.replace("null-co", "ram").replace("size_mib: 64", "size_mib: 500")
    plan = plan_of(
        sized(ram, "devices: [1, 16]"),
        sized(NVME.replace("qemu-nvme", "n"), "guests: [1, 9]"),
        capabilities=debian_12(),
        head=HEAD + "layout: guest-per-stack\n",
    )
    assert {skip["stack"]: skip["reason"] for skip in plan["skips"]} == {
        "qemu-nvme-d16": "needs 9024 MiB of memory, the host has 8192",
        "n-g9": "needs 9216 MiB of memory, the host has 8192",
    }
    spdk = debian_12(spdk={"nvmf_tgt": "nvmf_tgt", "vhost": None}, cpu_count=4)
    spdk["qemu"]["devices"]["vfio-user-pci"] = []
    many = plan_of(sized(VFIO_USER, "server_cores: [4, 5]"), capabilities=spdk)
    assert many["skips"] == [
        {"stack": "spdk-vfio-user-c5", "reason": "server_cores: 5, but the host has 4 CPUs"}
    ]


@pytest.fixture
def sysfs(tmp_path: Path) -> str:
    """The sysfs of eight cores without siblings, housekeeping on 0-1."""
    return str(make_sysfs(tmp_path / "sys", machine("ryzen-5800x-nosmt")))


SCALING = sized(VFIO_USER, "devices: 4", "server_cores: [1, 2]", "guests: [1, 2]")


def test_guests_and_cores_of_the_target_are_apart(sysfs: str) -> None:
    """By hand: 0-1 the host, 2-3 the target, 4-5 the first guest, 6-7 the second."""
    layout = layout_for(plan_of(SCALING), sysfs)
    plan = plan_of(SCALING, layout=layout)
    found = {}
    for environment in plan["environments"].values():
        (target,) = environment["targets"]
        cpus = [guest["cpus"] for guest in guests_of(environment)]
        found[target["name"].removeprefix("nvmf-tgt-spdk-vfio-user-")] = (target["cpus"], cpus)
    assert found == {
        "c1-g1": ("2", ["4-5"]),
        "c1-g2": ("2", ["4-5", "6-7"]),
        "c2-g1": ("2-3", ["4-5"]),
        "c2-g2": ("2-3", ["4-5", "6-7"]),
    }


def test_too_few_cpus_are_refused_unless_they_may_be_shared(sysfs: str) -> None:
    """A third guest has no cores left: the layout says how many it lacks, or is tainted."""
    stacks = (sized(VFIO_USER, "guests: 3", "server_cores: 2"),)
    with pytest.raises(TooFewCpusError, match=r"2 more cores needed for .*vCPUs of guest-3 2"):
        layout_for(plan_of(*stacks), sysfs)
    layout = layout_for(plan_of(*stacks), sysfs, overcommit=True)
    assert layout["layout"]["verdict"]["state"] == "tainted"
    (environment,) = plan_of(*stacks, layout=layout)["environments"].values()
    assert environment["targets"][0]["cpus"]
    assert len(guests_of(environment)) == 3


def test_a_layout_for_fewer_is_refused(sysfs: str) -> None:
    """A layout of one guest, or of one core for the target, does not serve two."""
    one = layout_for(plan_of(sized(VFIO_USER, "server_cores: 1")), sysfs)
    with pytest.raises(BadInputError, match=r"it has 1 guest, and the plan has guest-1_2"):
        plan_of(sized(VFIO_USER, "guests: 2"), layout=one)
    with pytest.raises(BadInputError, match=r"polls 2 cores, the layout is made for 1"):
        plan_of(sized(VFIO_USER, "server_cores: 2"), layout=one)


def test_the_files_cpus_are_dealt_out_to_the_guests() -> None:
    """Each guest gets as many as it has vCPUs, in the order of the list."""
    plan = plan_of(sized(NVME, "guests: 2"), head=HEAD + 'guest: {vcpus: 2, cpus: "4-7"}\n')
    guests = guests_of(plan["environments"]["guest-1"])
    assert [parse_cpu_list(guest["cpus"]) for guest in guests] == [[4, 5], [6, 7]]


@pytest.mark.parametrize(("iothreads", "wanted"), [(0, 1), (1, 4), (2, 8)])
def test_iothreads_of_devices_that_work_at_once_add_up(iothreads: int, wanted: int) -> None:
    """Four devices with IOThreads keep all of them busy; without, QEMU's main loop serves all."""
    blk = NVME.replace("nvme", "virtio-blk").replace("driver: virtio-blk", "driver: virtio_blk")
    blk = blk.replace("{model: virtio-blk}", f"{{model: virtio-blk, iothreads: {iothreads}}}")
    needed = needs(plan_of(sized(blk, "devices: 4"))["environments"], {})
    assert needed["guests"][0]["iothreads"] == wanted
