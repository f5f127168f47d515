# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan holds every point once, in an order that a seed fixes, and says what it leaves out."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import Any

import pytest
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
)
from plan_examples import experiment as example

from nvmelab.errors import BadInputError
from nvmelab.experiment import fio_options
from nvmelab.plan.points import draw_seed, make_plan, make_run_id

RUN_ID = "20261121T090000Z-example-a1b2"
ALL = (NVME, STORAGE_DAEMON, VFIO_USER, HOST_RAM, GUEST_NULL)


def plan_of(*stacks: str, capabilities: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """The plan of an experiment with these stacks."""
    head = kwargs.pop("head", HEAD)
    return make_plan(example(*stacks, head=head), capabilities, **{"run_id": RUN_ID, **kwargs})


def virtio_blk(name: str) -> str:
    """A stack of this name."""
    return (
        NVME.replace("qemu-nvme", name)
        .replace("nvme", "virtio-blk")
        .replace("driver: virtio-blk", "driver: virtio_blk")
    )


@st.composite
def experiments(draw: st.DrawFn) -> Any:
    """Experiments with up to 4 stacks, 3 workloads, 4 repetitions, with sweeps, both layouts."""
    stacks = draw(st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True))
    depths = st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True)
    workloads = "workloads:\n"
    for number in range(draw(st.integers(1, 3))):
        sizes = draw(st.lists(st.sampled_from(["512", "4k", "64k"]), min_size=1, unique=True))
        workloads += f"  - {{name: w{number}, bs: {sizes}, iodepth: {draw(depths)}}}\n"
    layout = draw(st.sampled_from(["shared-guest", "guest-per-stack"]))
    repetitions = draw(st.integers(1, 4))
    head = HEAD.replace("repetitions: 2", f"repetitions: {repetitions}\nlayout: {layout}")
    return example(*stacks, head=head, workloads=workloads)


def key(point: dict[str, Any]) -> tuple[str, str, str]:
    """What is measured at a point, the repetition left out."""
    return point["stack"], point["workload"], json.dumps(point["fio"], sort_keys=True)


@given(experiment=experiments(), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_combination_appears_once_in_every_repetition(experiment: Any, seed: int) -> None:
    """Points = stacks x workloads x sweep x repetitions, each repetition a block with all."""
    plan = make_plan(experiment, None, run_id=RUN_ID, seed=seed)
    combinations = {
        (name, workload.name, bs, depth)
        for name in experiment.stacks
        for workload in experiment.workloads
        for bs, depth in itertools.product(workload.options["bs"], workload.options["iodepth"])
    }
    points = plan["points"]
    assert len(points) == len(combinations) * experiment.repetitions
    for number in range(experiment.repetitions):
        block = points[number * len(combinations) : (number + 1) * len(combinations)]
        assert {point["repetition"] for point in block} == {number + 1}
        found = Counter(
            (p["stack"], p["workload"], p["fio"]["bs"], p["fio"]["iodepth"]) for p in block
        )
        assert found == Counter(combinations)


@given(experiment=experiments(), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_environments_are_entered_once_a_repetition(experiment: Any, seed: int) -> None:
    """Within a repetition nothing is started twice: each environment's points are together."""
    plan = make_plan(experiment, None, run_id=RUN_ID, seed=seed)
    for _, block in itertools.groupby(plan["points"], key=lambda point: point["repetition"]):
        entered = [name for name, _ in itertools.groupby(block, key=lambda p: p["environment"])]
        assert sorted(entered) == sorted(plan["environments"])


@given(experiment=experiments(), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_plan_holds_together(experiment: Any, seed: int) -> None:
    """Ids are unique and sorted; every device, export and file that a point needs is there."""
    plan = make_plan(experiment, None, run_id=RUN_ID, seed=seed)
    ids = [point["id"] for point in plan["points"]]
    assert ids == sorted(set(ids))
    assert plan == json.loads(json.dumps(plan))
    names = []
    for environment in plan["environments"].values():
        guest = environment["guest"] or {"devices": []}
        slots = [device["slot"] for device in guest["devices"]]
        assert len(set(slots)) == len(slots)
        assert all(16 <= slot < 31 for slot in slots)
        exports = [e["name"] for target in environment["targets"] for e in target["exports"]]
        assert exports == [d["export"] for d in guest["devices"] if d["export"]]
        assert all((d["backend"] is None) == (d["export"] is not None) for d in guest["devices"])
        names += [target["name"] for target in environment["targets"]]
    assert len(set(names)) == len(names)
    for point in plan["points"]:
        environment = plan["environments"][point["environment"]]
        guest = environment["guest"] or {"devices": []}
        places = {place["name"] for place in (*guest["devices"], *environment["host_files"])}
        assert point["device"] in places or point["device"] is None
        assert (point["environment"] == "host") == (point["runs_on"] == "host")


@given(experiment=experiments(), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_seed_fixes_the_order(experiment: Any, seed: int) -> None:
    """The same seed gives the same plan, on every host."""
    first, again = (
        make_plan(experiment, None, run_id=RUN_ID, seed=seed, host="a") for _ in range(2)
    )
    assert first == again
    other = make_plan(experiment, None, run_id="another", seed=seed, host="b")
    assert other["points"] == first["points"]


def test_other_seeds_give_other_orders_and_repetitions_differ() -> None:
    """With 12 points, 20 seeds all giving one order would be no shuffle; nor would equal blocks."""
    stacks = [virtio_blk(f"s{number}") for number in range(6)]
    orders = {
        tuple(key(point) for point in plan_of(*stacks, seed=seed)["points"]) for seed in range(20)
    }
    assert len(orders) == 20
    order = [key(point) for point in plan_of(*stacks, seed=7)["points"]]
    assert order[:12] != order[12:]


def test_seed_is_given_or_from_the_file_or_drawn_from_the_run() -> None:
    """The argument wins, then the file; else all hosts of a run draw the same one."""
    seeded = HEAD + "seed: 5\n"
    assert plan_of(NVME, head=seeded, seed=0)["seed"] == 0
    assert plan_of(NVME, head=seeded)["seed"] == 5
    assert plan_of(NVME, host="a")["seed"] == plan_of(NVME, host="b")["seed"] == draw_seed(RUN_ID)
    assert plan_of(NVME, run_id="another")["seed"] != draw_seed(RUN_ID)


def test_ids_grow_beyond_four_digits() -> None:
    """With 10000 points and more, ids are as wide as the last one needs, and still sort."""
    head = HEAD.replace("repetitions: 2", "repetitions: 1000")
    stacks = [virtio_blk(f"s{number}") for number in range(6)]
    ids = [point["id"] for point in plan_of(*stacks, head=head)["points"]]
    assert (ids[0], ids[-1]) == ("00001", "12000")


def test_shared_guest_with_more_devices_than_slots_is_split() -> None:
    """26 devices go into the first guest, the rest and no more into a second."""
    stacks = [virtio_blk(f"s{number}") for number in range(28)]
    environments = plan_of(*stacks, GUEST_NULL)["environments"]
    counts = {name: len(value["guest"]["devices"]) for name, value in environments.items()}
    assert counts == {"guest-1": 26, "guest-2": 2}


def test_plan_of_known_stacks() -> None:
    """The environments of four kinds of stack, worked out by hand."""
    environments = plan_of(NVME, STORAGE_DAEMON, HOST_RAM, GUEST_NULL)["environments"]
    backend = {"kind": "null-co", "size_mib": 64}
    common = {"properties": {}, "iothreads": 0}
    devices = [
        {"name": "qemu-nvme", "slot": 16, "model": "nvme", "backend": backend, "export": None},
        {"name": "vhost-user-blk", "slot": 17, "model": "vhost-user-blk", "backend": None}
        | {"export": "vhost-user-blk"},
    ]
    export = {"name": "vhost-user-blk", "transport": "vhost-user", "backend": backend}
    assert environments == {
        "guest-1": {
            "targets": [
                {
                    "name": "qsd-vhost-user-blk",
                    "kind": "qemu-storage-daemon",
                    "cpus": None,
                    "exports": [export | {"num_queues": 2}],
                }
            ],
            "guest": {
                "name": "guest-1",
                "vcpus": 2,
                "memory_mib": 1024,
                "cpus": None,
                "iothread_cpus": None,
                "devices": [device | common for device in devices],
            },
            "host_files": [],
        },
        "host": {
            "targets": [],
            "guest": None,
            "host_files": [{"name": "host-ram-file", "backend": {"kind": "ram", "size_mib": 16}}],
        },
    }


def test_spdk_stacks_share_a_target_unless_their_cpus_differ() -> None:
    """SPDK polls even when idle, so one process serves all stacks with the same CPUs."""
    pinned = VFIO_USER.replace("    driver", "    server_cpus: 3\n    driver")
    stacks = [VFIO_USER, VFIO_USER.replace("spdk-v", "b-v"), pinned.replace("spdk-v", "c-v")]
    targets = plan_of(*stacks)["environments"]["guest-1"]["targets"]
    served = {t["name"]: (t["cpus"], [e["name"] for e in t["exports"]]) for t in targets}
    assert served == {
        "nvmf-tgt-spdk-vfio-user": (None, ["spdk-vfio-user", "b-vfio-user"]),
        "nvmf-tgt-c-vfio-user": ("3", ["c-vfio-user"]),
    }


def test_spdk_stacks_that_work_in_another_manner_have_their_own_target() -> None:
    """A process sleeps or polls, and takes hugepages or not, for all that it serves."""
    manners = ("server_cpus: 1", "server_hugepages: false", "server_interrupt_mode: true")
    stacks = [
        VFIO_USER.replace("spdk-vfio", f"s{number}") + f"    {more}\n"
        for number, more in enumerate(manners)
    ]
    targets = plan_of(*stacks)["environments"]["guest-1"]["targets"]
    found = [(t.get("hugepages", True), t.get("interrupt_mode", False)) for t in targets]
    assert found == [(True, False), (False, False), (True, True)]


def test_all_guests_lie_in_hugepages_where_vhost_serves_one() -> None:
    """SPDK's vhost wants such memory, and what is compared has guests alike."""
    vhost = STORAGE_DAEMON.replace("vhost-user-blk:", "vhost:").replace(
        "qemu-storage-daemon", "spdk-vhost"
    )
    vhost = vhost.replace("null-co", "bdev_null")
    head = HEAD.replace("repetitions: 2", "repetitions: 1\nlayout: guest-per-stack")
    for stacks, huge in (([NVME], [None]), ([NVME, vhost], [True, True])):
        guests = plan_of(*stacks, head=head)["environments"].values()
        assert [one["guest"].get("hugepages") for one in guests] == huge
    asked = plan_of(NVME, head=head + "guest: {hugepages: true}\n")["environments"]
    assert [one["guest"]["hugepages"] for one in asked.values()] == [True]


def test_engine_wins_over_workload_and_workload_over_defaults() -> None:
    """Options of a stack replace even a sweep of the workload."""
    stack = NVME + "    engine: {iodepth: 8, ioengine: io_uring}\n"
    points = plan_of(stack)["points"]
    assert len(points) == 2
    assert points[0]["fio"] == {
        "ioengine": "io_uring",
        "runtime": 1,
        "direct": 1,
        "rw": "randread",
        "bs": "4k",
        "iodepth": 8,
    }


@pytest.mark.parametrize(
    ("margin", "runtime", "limit_s"),
    [("", 10, 70.0), ("", 100, 300.0), ("point_margin_s: 4\n", 1, 5.0)],
)
def test_a_point_has_a_limit(margin: str, runtime: int, limit_s: float) -> None:
    """point_margin_s longer than expected, a minute by default, but three times as long."""
    head = HEAD.replace("repetitions: 2", "repetitions: 1") + margin
    workloads = f"workloads: [{{name: w, rw: read, time_based: 1, runtime: {runtime}}}]\n"
    made = make_plan(example(GUEST_NULL, head=head, workloads=workloads), None, run_id=RUN_ID)
    assert [point["limit_s"] for point in made["points"]] == [limit_s]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"runtime": 1}, 1.0),
        ({"runtime": "1s", "ramp_time": 0.2}, 1.2),
        ({"runtime": "500ms"}, 0.5),
        ({"runtime": "2m", "startdelay": 5}, 125.0),
        ({"runtime": "1H"}, 3600.0),
        ({"runtime": "250000us"}, 0.25),
        ({"bs": "4k"}, 0.0),
    ],
)
def test_expected_time(options: dict[str, Any], seconds: float) -> None:
    """Fio's units are read as fio reads them."""
    assert fio_options.expected_s(options) == seconds


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0.2, "200ms"),
        ("0.5s", "500ms"),
        ("1.5m", "90000ms"),
        ("0.25ms", "250us"),
        (1, 1),
        ("90s", "90s"),
    ],
)
def test_fractions_of_a_second_are_rewritten(value: Any, word: Any) -> None:
    """Fio 3.33 takes runtime=0.2 for 30 ms, so fractions reach it in whole smaller units."""
    (options,) = fio_options.expand({"runtime": value})
    assert options == {"runtime": word}


@pytest.mark.parametrize("value", ["", "1 h", "-1", "1w", "1:30", "s", ".5"])
def test_what_is_no_duration_of_fio(value: str) -> None:
    """What fio itself refuses, or reads as something else, is no duration."""
    assert fio_options.duration_s(value) is None


def test_skips_are_recorded_and_left_out() -> None:
    """A skipped stack has its reason in the plan, and no point and no device."""
    plan = plan_of(NVME, VFIO_USER, capabilities=debian_12(), host="lab-1")
    (skip,) = plan["skips"]
    assert skip["stack"] == "spdk-vfio-user"
    device, target = skip["reason"].split("); ")
    assert device.startswith(
        "QEMU 7.2.22 has no device vfio-user-pci (upstream since 10.1, in qemu_suite: "
    )
    assert target.startswith("no SPDK nvmf_tgt on the host (")
    assert {point["stack"] for point in plan["points"]} == {"qemu-nvme"}
    assert plan["accelerator"] == "tcg"
    assert plan["host"] == "lab-1"


def test_named_stack_that_cannot_run_is_an_error() -> None:
    """What the user asked for by name is never skipped in silence."""
    with pytest.raises(BadInputError, match="named stacks cannot run") as caught:
        plan_of(NVME, VFIO_USER, capabilities=debian_12(), named_stacks=["spdk-vfio-user"])
    (line,) = str(caught.value).splitlines()
    assert "spdk-vfio-user: " in line
    assert "no SPDK nvmf_tgt" in line
    assert caught.value.exit_code == 2
    plan = plan_of(NVME, VFIO_USER, capabilities=debian_12(), named_stacks=["qemu-nvme"])
    assert plan["skips"] == []
    assert list(plan["experiment"]["document"]["stacks"]) == ["qemu-nvme"]


def test_plan_with_zero_points_is_an_error_that_names_every_reason() -> None:
    """When everything is skipped, nothing is started, and all reasons are told."""
    capabilities = debian_12(qemu=None, qemu_storage_daemon=None)
    with pytest.raises(BadInputError, match="on lab-1: no stack can run") as caught:
        plan_of(NVME, STORAGE_DAEMON, capabilities=capabilities, host="lab-1")
    assert "qemu-nvme: no qemu-system-x86_64" in str(caught.value)
    assert "vhost-user-blk: no qemu-system-x86_64 on the host; no qemu-storage" in str(caught.value)


def test_stacks_that_fit_alone_but_not_together_are_an_error() -> None:
    """The guest and all RAM backends beside it must fit into the host's memory."""
    ram = virtio_blk("a").replace("null-co, size_mib: 64", "ram, size_mib: 4000")
    other = ram.replace("  a:", "  b:")
    assert plan_of(ram, capabilities=debian_12())["skips"] == []
    with pytest.raises(BadInputError, match="need 9024 MiB of memory, found 8192 MiB"):
        plan_of(ram, other, capabilities=debian_12())
    apart = HEAD + "layout: guest-per-stack\n"
    assert plan_of(ram, other, head=apart, capabilities=debian_12())["skips"] == []


def test_slip_in_a_property_beside_the_hosts_own_is_an_error() -> None:
    """A name like one that only this host's QEMU has is a slip, not a reason to skip."""
    capabilities = debian_12()
    capabilities["qemu"]["devices"]["nvme"].append("turbo_mode")
    stack = NVME.replace("model: nvme", "model: nvme, properties: {turbo_mod: 1}")
    with pytest.raises(BadInputError, match="did you mean 'turbo_mode'"):
        plan_of(stack, capabilities=capabilities)


def test_run_id() -> None:
    """A made run id has the form of the contract; one that names no folder is refused."""
    assert re.fullmatch(r"\d{8}T\d{6}Z-quick-[0-9a-f]{4}", make_run_id("quick"))
    for wrong in ("../up", "a/b", "-x", "a b"):
        with pytest.raises(BadInputError, match="it names a directory"):
            plan_of(NVME, run_id=wrong)


def test_quick_is_short_enough(checkout: Any) -> None:
    """On a Debian 12 host fio runs at most 50 s for 36 points of nine stacks."""
    from nvmelab.experiment.document import load_experiment  # noqa: PLC0415

    plan = make_plan(load_experiment(checkout / "experiments/quick.yml"), debian_12())
    assert len({point["stack"] for point in plan["points"]}) == 9
    assert len(plan["points"]) == 36
    assert sum(point["expected_s"] for point in plan["points"]) <= 50
    assert {skip["stack"] for skip in plan["skips"]} == {"qemu-nvme-dbcs-off", "spdk-vfio-user"}
