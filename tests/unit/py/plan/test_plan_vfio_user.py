# SPDX-License-Identifier: GPL-3.0-or-later
"""The two experiments on the reference notes: what a host with everything runs, and without."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cpu_topologies import machine, make_sysfs
from plan_examples import ENGINES, debian_12, layout_for

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import guests_of
from nvmelab.errors import BadInputError
from nvmelab.experiment.document import load_experiment
from nvmelab.plan.points import make_plan
from nvmelab.plan.table import plan_table

RUN_ID = "20261121T090000Z-example-a1b2"


def plan_of(checkout: Path, name: str, capabilities: Any = None, **kwargs: Any) -> Any:
    """The plan of a shipped experiment."""
    made = load_experiment(checkout / f"experiments/{name}.yml")
    return make_plan(made, capabilities, run_id=RUN_ID, **kwargs)


def big_host(cpus: str = "0-127") -> dict[str, Any]:
    """A host with all that the notes build, KVM, and so many CPUs; Debian's QEMU is too old."""
    qemu = debian_12()["qemu"]
    qemu = {**qemu, "version": "10.1.0", "devices": {**qemu["devices"], "vfio-user-pci": []}}
    programs = {"spdk_nvme_perf": {"path": "/spdk/spdk_nvme_perf", "target_arch": "native"}}
    fio = {"version": "3.40", "engines": [*ENGINES, "io_uring_cmd", "xnvme"]}
    plugin = {"path": "/spdk/spdk_nvme", "fio_path": "/fio", "fio_version": "3.40"}
    tools = ("nvmf_tgt", "vhost", "bdevperf", "spdk_nvme_perf")
    return debian_12(
        cpu_count=len(parse_cpu_list(cpus)),
        cpus=cpus,
        memory_mib=256 * 1024,
        qemu=qemu,
        spdk={**{name: f"/spdk/{name}" for name in tools}, "fio_plugin": plugin},
        guest_payload={"fio": fio, "programs": programs},
        accelerator={"name": "kvm", "kvm_usable": True, "reason": "a guest booted"},
    )


def test_the_notes_evaluation_is_one_point_a_repetition(checkout: Path) -> None:
    """512 B randread, QD16, one job, 60 s through uPCIe, as the notes print their command."""
    plan = plan_of(checkout, "vfio-user-upcie")
    notes = [point for point in plan["points"] if point["workload"] == "notes-512-qd16"]
    (upcie, *_) = found = [point for point in notes if point["stack"] == "upcie"]
    assert len(found) == plan["repetitions"]
    wanted = {"rw": "randread", "bs": 512, "iodepth": 16, "numjobs": 1, "runtime": 60}
    wanted |= {"time_based": 1, "ioengine": "xnvme"}
    assert wanted.items() <= upcie["fio"].items()
    assert not {"ramp_time", "norandommap"} & set(upcie["fio"])
    assert upcie["expected_s"] == 60
    assert len({point["stack"] for point in notes}) == 13


def test_each_path_is_alone_with_its_target(checkout: Path) -> None:
    """A target polls what it serves: no environment has two devices."""
    for environment in plan_of(checkout, "vfio-user-upcie")["environments"].values():
        exports = [e for target in environment["targets"] for e in target["exports"]]
        assert len(exports) <= 1


def test_the_scaling_goes_to_24_devices_8_cores_and_4_guests(checkout: Path) -> None:
    """Every size once, the largest with 96 devices; each point drives all of them."""
    plan = plan_of(checkout, "vfio-user-scaling")
    document = plan["experiment"]["document"]["stacks"]
    sizes = Counter(
        (one["backend"]["kind"], one["devices"], one["server_cores"], one["guests"])
        for one in document.values()
    )
    assert len(sizes) == 2 * 6 * 4 * 3
    assert set(sizes.values()) == {1}
    largest = plan["environments"]["guest-malloc-d24-c8-g4"]
    assert [len(guest["devices"]) for guest in guests_of(largest)] == [24, 24, 24, 24]
    assert [len(target["exports"]) for target in largest["targets"]] == [96]
    for point in plan["points"]:
        stack = document[point["stack"]]
        driven = sum(len(part["devices"]) for part in point.get("parts", ())) or 1
        assert driven == stack["devices"] * stack["guests"]


def test_sockets_of_the_largest_size_fit_their_paths(checkout: Path) -> None:
    """Below the default root, with a run id as it is made, within the kernel's 107 bytes."""
    for name in ("vfio-user-upcie", "vfio-user-scaling"):
        plan = plan_of(checkout, name)
        run = f"/var/lib/nvmelab/runs/20261121T090000Z-{name}-a1b2"
        for environment in plan["environments"].values():
            for target in environment["targets"]:
                for export in target["exports"]:
                    assert len(f"{run}/vfio-user/{export['name']}/cntrl") <= 107


def test_a_debian_host_without_builds_says_what_is_missing(checkout: Path) -> None:
    """Nothing of the scaling can run there; of the other only fio's own ceiling."""
    with pytest.raises(BadInputError, match=r"no stack can run(.|\n)*no SPDK nvmf_tgt on the host"):
        plan_of(checkout, "vfio-user-scaling", debian_12())
    plan = plan_of(checkout, "vfio-user-upcie", debian_12())
    assert {point["stack"] for point in plan["points"]} == {"fio-null"}
    assert len(plan["skips"]) == 12


def test_one_bdev_of_the_scaling_can_be_named(checkout: Path) -> None:
    """By the name in the file all its sizes, by a size's own name that one."""
    plan = plan_of(checkout, "vfio-user-scaling", named_stacks=["nocopy"])
    assert len({point["stack"] for point in plan["points"]}) == 72
    plan = plan_of(checkout, "vfio-user-scaling", named_stacks=["malloc-d24-c8-g1"])
    assert {point["stack"] for point in plan["points"]} == {"malloc-d24-c8-g1"}


@pytest.mark.parametrize("name", ["vfio-user-upcie", "vfio-user-scaling"])
def test_a_host_of_64_cores_runs_every_point_with_everybody_apart(
    checkout: Path, tmp_path: Path, name: str
) -> None:
    """Nothing is skipped; whatever is up at once has cores of its own, each target as many.

    The host has two sockets with 32 cores of two threads each.
    """
    sysfs = str(make_sysfs(tmp_path / "sys", machine("xeon-gold-6338-2s")))
    whole = plan_of(checkout, name)
    layout = layout_for(whole, sysfs)
    plan = plan_of(checkout, name, big_host(), cpu_layout=layout)
    assert plan["skips"] == []
    assert len(plan["points"]) == len(whole["points"])
    siblings = {cpu: {cpu % 64, cpu % 64 + 64} for cpu in range(128)}
    for environment in plan["environments"].values():
        targets = [(target.get("cores"), target["cpus"]) for target in environment["targets"]]
        polled = [parse_cpu_list(cpus) for _, cpus in targets]
        assert [len(cpus) for cpus in polled] == [cores or 1 for cores, _ in targets]
        guests = [parse_cpu_list(guest["cpus"]) for guest in guests_of(environment)]
        assert all(len(cpus) == len(guests[0]) > 1 for cpus in guests)
        others = [parse_cpu_list(environment["cpus"])] if not guests else []
        used = [*polled, *guests, *others, parse_cpu_list(layout["layout"]["housekeeping"])]
        for one, other in itertools.combinations(used, 2):
            # Nor a core of two threads.
            assert not {cpu for own in one for cpu in siblings[own]} & set(other)


def test_a_host_of_two_cpus_runs_the_sizes_that_fit(checkout: Path) -> None:
    """By the name in the file too: its other sizes are skips, and each reason is one line."""
    small = big_host(cpus="0-1")
    plan = plan_of(checkout, "vfio-user-scaling", small, named_stacks=["nocopy"])
    document = plan["experiment"]["document"]["stacks"]
    assert {document[point["stack"]]["server_cores"] for point in plan["points"]} == {1, 2}
    assert len(plan["skips"]) == 36
    told = [line for line in plan_table(plan).splitlines() if line.startswith("skipped: ")]
    assert told == [
        f"skipped: nocopy-d1-c{cores}-g1, nocopy-d1-c{cores}-g2, nocopy-d1-c{cores}-g4, "
        f"nocopy-d2-c{cores}-g1 and 14 more: server_cores: {cores}, but the host has 2 CPUs"
        for cores in (4, 8)
    ]


def test_sizes_that_are_named_and_none_of_which_runs_are_an_error(checkout: Path) -> None:
    """Also when another name would run."""
    small = big_host(cpus="0-1")
    for names in (["malloc-d1-c8-g1", "nocopy"], ["malloc-d1-c8-g1"]):
        with pytest.raises(BadInputError, match="named stacks cannot run: malloc-d1-c8-g1: ") as e:
            plan_of(checkout, "vfio-user-scaling", small, named_stacks=names)
        assert len(str(e.value).splitlines()) == 1


def test_a_narrow_terminal_keeps_paths_readable(checkout: Path) -> None:
    """Two lines each at most; the counts of single workloads are left out for that."""
    plan = plan_of(checkout, "vfio-user-upcie")
    wide, narrow = (plan_table(plan, width=width) for width in (160, 80))
    assert "sweep-512" in wide
    assert "sweep-512" not in narrow
    stacks = len(plan["experiment"]["document"]["stacks"])
    assert len(narrow.splitlines()) <= 5 + 2 * stacks
    assert max(map(len, narrow.splitlines())) <= 80
