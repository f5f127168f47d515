# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks on real NVMe devices: the experiment names none, each host's inventory does."""

from __future__ import annotations

from typing import Any

import pytest
from plan_examples import HEAD, VFIO_USER, debian_12, experiment

from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_taking
from nvmelab.errors import BadInputError
from nvmelab.experiment.document import ExperimentError
from nvmelab.plan.points import make_plan

ADDRESSES = [f"0000:5e:0{number}.0" for number in range(4)]
GUEST = """\
  {name}:
    backend: {{kind: bdev_nvme{more}}}
    server: spdk-nvmf-tgt
    transport: vfio-user
    device: {{model: vfio-user-pci}}
    driver: nvme
    devices: {devices}
"""
VHOST = """\
  vhost:
    backend: {kind: bdev_nvme}
    server: spdk-vhost
    transport: vhost-user
    device: {model: vhost-user-blk}
    driver: virtio_blk
"""
ALONE = """\
  alone:
    backend: {kind: bdev_nvme}
    client: bdevperf
    runs_on: host
    ceiling: true
"""
VM_LESS = """\
  vm-less:
    backend: {kind: bdev_nvme}
    server: spdk-nvmf-tgt
    transport: vfio-user
    client: spdk_nvme_perf
    runs_on: host
    ceiling: true
"""
HEAD = HEAD.replace("ioengine: libaio, ", "")


def guest(name: str = "guest", devices: int = 1, more: str = "") -> str:
    """A stack of a guest on so many devices."""
    return GUEST.format(name=name, devices=devices, more=more)


def host(*devices: dict[str, Any]) -> dict[str, Any]:
    """A host with everything, and these real devices."""
    found = debian_12(nvme_devices=devices)
    found["qemu"]["devices"]["vfio-user-pci"] = ["socket"]
    programs = ("nvmf_tgt", "vhost", "bdevperf", "spdk_nvme_perf")
    return {**found, "spdk": dict.fromkeys(programs, "/spdk/program")}


def device(number: int, *nsids: int, refusal: str | None = None) -> dict[str, Any]:
    """One real device as capabilities_info tells it; without numbers nobody knows them."""
    namespaces = [{"nsid": nsid, "size_mib": 1024, "block_bytes": 512} for nsid in nsids] or None
    return {"address": ADDRESSES[number], "namespaces": namespaces, "refusal": refusal}


def test_every_stack_gets_the_same_devices_and_has_them_alone() -> None:
    """The first that can be had, in the inventory's order; each stack in its own environment."""
    stacks = (guest(), guest("second", 2), VHOST, ALONE, VM_LESS, VFIO_USER)
    refused = device(0, refusal=f"{ADDRESSES[0]}: /dev/nvme0n1 is mounted on /")
    whole = host(refused, device(1, 1), device(2, 3, 2), device(3))
    plan = make_plan(experiment(*stacks, head=HEAD), whole)
    assert plan["skips"] == []
    had = {name: nvme_taking.addresses_in(one) for name, one in plan["environments"].items()}
    first = {ADDRESSES[1]}
    assert had.pop("host") == had.pop("host-vm-less") == first
    assert sorted(map(sorted, had.values())) == [[], [*first], [*first], ADDRESSES[1:3]]
    exports = [
        export["backend"]
        for environment in plan["environments"].values()
        for target in environment["targets"]
        for export in target["exports"]
        if export["name"].startswith("second")
    ]
    assert [(one["bdf"], one["nsid"]) for one in exports] == [(ADDRESSES[1], 1), (ADDRESSES[2], 2)]


@pytest.mark.parametrize(
    ("devices", "stack", "reason"),
    [
        ([], guest(), "no NVMe device is named in nvmelab_nvme_devices of the host's inventory"),
        ([device(0, refusal="0000:5e:00.0: absent")], guest(), "0000:5e:00.0: absent"),
        (
            [device(0, 1), device(1, refusal="0000:5e:01.0: absent")],
            guest(devices=2),
            "needs 2 NVMe devices, 1 of nvmelab_nvme_devices can be had; 0000:5e:01.0: absent",
        ),
        (
            [device(0, 1, 3)],
            guest(more=", nsid: 2"),
            "0000:5e:00.0 has no namespace 2, only 1, 3",
        ),
    ],
)
def test_a_host_without_them_skips_the_stack(
    devices: list[dict[str, Any]], stack: str, reason: str
) -> None:
    """The cause of each device; a stack that was named is an error with the same words."""
    made = experiment(stack, VFIO_USER)
    assert make_plan(made, host(*devices))["skips"] == [{"stack": "guest", "reason": reason}]
    with pytest.raises(BadInputError, match=f"named stacks cannot run: guest: {reason}"):
        make_plan(made, host(*devices), named_stacks=["guest"])


def test_the_namespace_that_is_asked_for() -> None:
    """Also of a device whose namespaces nobody knows: SPDK will tell."""
    for known in (device(0, 1, 4), device(0)):
        plan = make_plan(experiment(guest(more=", nsid: 4")), host(known))
        ((target,),) = [one["targets"] for one in plan["environments"].values()]
        assert target["exports"][0]["backend"] == {
            "kind": "bdev_nvme", "size_mib": None, "bdf": ADDRESSES[0], "nsid": 4,
        }  # fmt: skip


def test_without_a_host_the_plan_names_no_device() -> None:
    """It can be looked at, as any; nothing can be run by it."""
    plan = make_plan(experiment(guest(devices=2)), None)
    ((target,),) = [one["targets"] for one in plan["environments"].values()]
    assert [one["backend"]["bdf"] for one in target["exports"]] == [None, None]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bdev_nvme", "bdev_nvme, size_mib: 64", "size_mib: found a size, but kind has its own"),
        (
            "bdev_nvme",
            "bdev_null, size_mib: 64, nsid: 1",
            "found 1, but kind bdev_null has no name",
        ),
        ("bdev_nvme", "bdev_nvme, nsid: 0", "backend.nsid: found 0"),
        ("bdev_nvme", 'bdev_nvme, address: "0000:5e:00.0"', "backend.address: unknown key"),
        ("driver:", "server_hugepages: false\n    driver:", "false with kind: bdev_nvme, which re"),
        ("driver:", "server_interrupt_mode: true\n    driver:", "true with kind: bdev_nvme, which"),
    ],
)
def test_what_does_not_go_with_a_real_device(old: str, new: str, said: str) -> None:
    """Each fault with its place in the file."""
    with pytest.raises(ExperimentError, match=said):
        experiment(guest().replace(old, new))
