# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks whose device a program in the guest drives, or that pass NVMe commands: file to plan."""

from __future__ import annotations

from typing import Any

import pytest
from plan_examples import ENGINES, GUEST_NULL, HEAD, NVME, VFIO_USER, debian_12
from plan_examples import experiment as example

from nvmelab.experiment.document import ExperimentError
from nvmelab.plan.points import make_plan
from nvmelab.plan.table import path_of

BIG = HEAD + "guest: {memory_mib: 2048}\n"
TAKEN = NVME.replace("driver: nvme", "driver: uio_pci_generic\n    engine: {ioengine: xnvme}")
PASSING = NVME.replace("driver: nvme", "driver: nvme\n    engine: {ioengine: io_uring_cmd}")
MORE = [*ENGINES, "io_uring_cmd", "xnvme"]
BUILD_IT = "(nvmelab_builds: xnvme, fio)"
BUILT = {"fio": {"path": "/b/bin/fio", "version": "3.40", "engines": MORE}}
PERF = NVME.replace("driver: nvme", "driver: uio_pci_generic\n    client: spdk_nvme_perf")
CLIENT = {"path": "/s/spdk_nvme_perf", "target_arch": "native", "cpu_flags": ["avx512f"]}


def made(stack: str, *others: str, head: str = BIG, **capabilities: Any) -> dict[str, Any]:
    """The plan, on a Debian 12 whose guests have a build of fio."""
    experiment = example(stack, *others, head=head)
    return make_plan(experiment, debian_12(guest_payload=BUILT, **capabilities))


def with_engine(text: str, stack: str = TAKEN) -> str:
    """The stack with another engine."""
    return stack.replace("engine: {ioengine: xnvme}", f"engine: {{{text}}}")


def test_a_plan_says_driver_pages_and_what_xnvme_needs() -> None:
    """Only for the devices that are taken; the others' plan stays as it was."""
    plan = made(TAKEN, NVME.replace("qemu-nvme", "plain"))
    guest = plan["environments"]["guest-1"]["guest"]
    assert guest["hugepages_2m"] == 512
    assert [device.get("driver") for device in guest["devices"]] == ["uio_pci_generic", None]
    assert {"iommu", "kernel_args"}.isdisjoint(guest)
    options = {point["stack"]: point["fio"] for point in plan["points"]}
    own = {"ioengine": "xnvme", "thread": 1, "xnvme_be": "upcie", "xnvme_dev_nsid": 1}
    assert own.items() <= options["qemu-nvme"].items()
    assert own.keys() & options["plain"].keys() == {"ioengine"}
    assert options["plain"]["direct"] == 1
    assert "hugepages_2m" not in made(NVME)["environments"]["guest-1"]["guest"]


def test_direct_is_taken_back_where_fio_refuses_it() -> None:
    """It stands under fio, for all stacks."""
    assert {point["fio"]["direct"] for point in made(PASSING, head=HEAD)["points"]} == {0}


def test_kernel_arguments_of_the_guest() -> None:
    """Polled queues, and an IOMMU for vfio-pci."""
    head = HEAD + "guest: {memory_mib: 2048, poll_queues: 2}\n"
    guest = made(NVME, head=head)["environments"]["guest-1"]["guest"]
    assert guest["kernel_args"] == ["nvme.poll_queues=2"]
    vfio = TAKEN.replace("uio_pci_generic", "vfio-pci")
    guest = made(vfio, head=head)["environments"]["guest-1"]["guest"]
    assert guest["kernel_args"] == ["nvme.poll_queues=2", "intel_iommu=on", "iommu=pt"]
    assert guest["iommu"] is True


def test_the_path_names_the_driver() -> None:
    """Of a program's, for it is the path's last step; the kernel's own goes without saying."""
    document = example(TAKEN, head=BIG).document()["stacks"]["qemu-nvme"]
    assert path_of(document) == "null-co · qemu · nvme · uio_pci_generic"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"guest_payload": None}, f"fio 3.33 in the guest has no engine xnvme {BUILD_IT}"),
        ({"guest_payload": {"fio": None}}, f"fio 3.33 in the guest has no engine xnvme {BUILD_IT}"),
        (
            {"guest_payload": {"fio": {**BUILT["fio"], "engines": ENGINES}}},
            "fio 3.40 in the guest has no engine xnvme",
        ),
        (
            {"guest_image": {"name": "x", "kernel_release": "6.1", "pci_drivers": ["vfio-pci"]}},
            "the guest's kernel 6.1 has no driver uio_pci_generic",
        ),
        (
            {"guest_image": {"name": "x", "kernel_release": "6.1", "pci_drivers": []}},
            "the guest's kernel 6.1 has no driver uio_pci_generic",
        ),
        (
            {"guest_image": {"name": "x", "boot": "firmware"}},
            "guest.poll_queues: the guest image boots by itself, without kernel arguments",
        ),
    ],
)
def test_what_a_host_lacks(changes: dict[str, Any], reason: str | None) -> None:
    """The fio of the payload counts where there is one; the kernel's drivers where known."""
    queues = ", poll_queues: 1" if "boot" in changes.get("guest_image", {}) else ""
    head = BIG.replace("2048", f"2048{queues}")
    other = '  zz-null:\n    runs_on: host\n    engine: {ioengine: "null", size: 1g}\n'
    experiment = example(TAKEN, other + "    ceiling: true\n", head=head)
    skips = make_plan(experiment, debian_12(**{"guest_payload": BUILT, **changes}))["skips"]
    assert [skip["reason"] for skip in skips] == ([reason] if reason else [])


def test_a_guest_gets_the_programs_that_it_uses() -> None:
    """Beside driver and hugepages; of fio's options the point keeps what the client takes."""
    payload = {**BUILT, "programs": {"spdk_nvme_perf": {**CLIENT, "cpu_flags": []}}}
    plan = make_plan(example(PERF, head=BIG), debian_12(guest_payload=payload))
    guest = plan["environments"]["guest-1"]["guest"]
    assert (guest["programs"], guest["hugepages_2m"]) == (["spdk_nvme_perf"], 512)
    (point, *_) = plan["points"]
    assert (point["client"], point["runs_on"]) == ("spdk_nvme_perf", "guest")
    assert (point["device"], point["client_cpus"]) == ("qemu-nvme", None)
    assert {"ioengine", "direct", "thread"}.isdisjoint(point["fio"])
    assert "programs" not in made(TAKEN)["environments"]["guest-1"]["guest"]


def kvm_or_tcg(name: str) -> dict[str, Any]:
    """The capabilities' accelerator."""
    return {"name": name, "kvm_usable": name == "kvm", "reason": ""}


OTHER_CPU = (
    "spdk_nvme_perf is built for a CPU with avx512f (spdk_target_arch: native), which TCG does not "
    "emulate; have one built for guests: spdk_guest_target_arch: x86-64-v2"
)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"guest_payload": None}, "no spdk_nvme_perf for the guest; build SPDK (nvmelab_builds)"),
        ({"guest_payload": BUILT}, "no spdk_nvme_perf for the guest; build SPDK (nvmelab_builds)"),
        ({"accelerator": kvm_or_tcg("tcg")}, OTHER_CPU),
        ({"accelerator": kvm_or_tcg("kvm")}, None),
        (
            {
                "accelerator": kvm_or_tcg("tcg"),
                "guest_payload": {"programs": {"spdk_nvme_perf": {**CLIENT, "cpu_flags": []}}},
            },
            None,
        ),
    ],
)
def test_a_client_that_the_guest_cannot_have(changes: dict[str, Any], reason: str | None) -> None:
    """There is none, or it is built for another CPU than the guest's; what to do is told."""
    payload = {**BUILT, "programs": {"spdk_nvme_perf": CLIENT}}
    capabilities = debian_12(**{"guest_payload": payload, **changes})
    skips = make_plan(example(PERF, GUEST_NULL, head=BIG), capabilities)["skips"]
    assert len(skips) == (1 if reason else 0)
    assert all(skip["reason"].startswith(str(reason)) for skip in skips)


@pytest.mark.parametrize(
    ("stack", "head", "fault"),
    [
        (
            with_engine("ioengine: libaio"),
            BIG,
            "which takes the device from the kernel; wanted engine: {ioengine: xnvme}, or driver:",
        ),
        (
            TAKEN,
            HEAD,
            "guest.memory_mib: found 1024; wanted 2048 or more: the program that drives the device",
        ),
        (
            NVME.replace(
                "driver: nvme", "driver: nvme\n    engine: {ioengine: xnvme, xnvme_be: upcie}"
            ),
            HEAD,
            "engine.xnvme_be: found 'upcie', which drives the device itself, with driver: nvme",
        ),
        (
            with_engine("ioengine: xnvme, xnvme_be: linux"),
            BIG,
            "engine.xnvme_be: found 'linux'; allowed: upcie (with driver: uio_pci_g",
        ),
        (with_engine("ioengine: xnvme, thread: 0"), BIG, "engine.thread: found 0; nvmelab itself"),
        (
            with_engine("ioengine: xnvme, xnvme_dev_nsid: 2"),
            BIG,
            "xnvme_dev_nsid: found 2; nvmelab",
        ),
        (
            PASSING.replace("nvme}", "virtio-blk}").replace("driver: nvme", "driver: virtio_blk"),
            HEAD,
            "engine: found io_uring_cmd with driver: virtio_blk: only driver: nvme lets NVMe c",
        ),
        (
            TAKEN.replace("nvme}", "virtio-blk}", 1),
            BIG,
            "driver: found 'uio_pci_generic'; allowed: virtio_blk (with model: virtio-blk)",
        ),
        (
            VFIO_USER.replace("driver: nvme", "driver: vfio-pci\n    engine: {ioengine: xnvme}"),
            BIG,
            "driver: found vfio-pci with engine xnvme over vfio-user: uPCIe maps its memory in 512",
        ),
        (NVME, HEAD + "guest: {poll_queues: -1}\n", "guest.poll_queues: found -1"),
    ],
)
def test_faults_say_what_to_write(stack: str, head: str, fault: str) -> None:
    """Each with its key, what was found, what was wanted."""
    with pytest.raises(ExperimentError) as caught:
        example(stack, head=head)
    assert fault in str(caught.value)


def test_what_is_equal_or_concerns_no_device_is_no_fault() -> None:
    """Options that nvmelab would set, xNVMe on a device of the kernel, no device."""
    example(with_engine("ioengine: xnvme, thread: 1, xnvme_dev_nsid: 1"), head=BIG)
    example(with_engine("ioengine: xnvme, xnvme_async: io_uring", NVME + ENGINE), head=HEAD)
    example(VFIO_USER.replace("driver: nvme", "driver: uio_pci_generic\n" + ENGINE), head=BIG)
    example(TAKEN.replace("uio_pci_generic", "vfio-pci"), head=BIG)
    example(GUEST_NULL, head=HEAD)


ENGINE = "    engine: {ioengine: xnvme}\n"
