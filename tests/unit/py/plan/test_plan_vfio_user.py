# SPDX-License-Identifier: GPL-3.0-or-later
"""The two experiments on the reference notes: what a host with everything runs, and without."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from plan_examples import debian_12

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_needs import guests_of
from nvmelab.errors import BadInputError
from nvmelab.experiment.document import load_experiment
from nvmelab.plan.points import make_plan

RUN_ID = "20261121T090000Z-example-a1b2"


def plan_of(checkout: Path, name: str, capabilities: Any = None, **kwargs: Any) -> Any:
    """The plan of a shipped experiment."""
    made = load_experiment(checkout / f"experiments/{name}.yml")
    return make_plan(made, capabilities, run_id=RUN_ID, **kwargs)


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
    assert len({point["stack"] for point in notes}) == 11


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
    assert len(plan["skips"]) == 10


def test_one_bdev_of_the_scaling_can_be_named(checkout: Path) -> None:
    """By the name in the file all its sizes, by a size's own name that one."""
    plan = plan_of(checkout, "vfio-user-scaling", named_stacks=["nocopy"])
    assert len({point["stack"] for point in plan["points"]}) == 72
    plan = plan_of(checkout, "vfio-user-scaling", named_stacks=["malloc-d24-c8-g1"])
    assert {point["stack"] for point in plan["points"]} == {"malloc-d24-c8-g1"}
