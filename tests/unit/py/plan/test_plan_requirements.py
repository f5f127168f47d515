# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a host cannot run a stack is worked out from what its binaries list, nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from plan_examples import (
    DEBIAN_12,
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
from nvmelab.plan.host_capabilities import capabilities_from
from nvmelab.plan.points import make_plan

VIRTIO_BLK = (
    NVME.replace("qemu-nvme", "virtio-blk")
    .replace("model: nvme", "model: virtio-blk")
    .replace("driver: nvme", "driver: virtio_blk")
)
VIRTIO_SCSI = VIRTIO_BLK.replace("blk", "scsi")
MAPPING = "iothread-vq-mapping"
SINCE_9 = "upstream since 9.0, in qemu_suite: trixie-backports"
SPDK = "nvmelab_builds: spdk, or capabilities_spdk_directory"
SPDK_VHOST = (
    STORAGE_DAEMON.replace("  vhost-user-blk:", "  spdk-vhost:")
    .replace("null-co", "bdev_null")
    .replace("qemu-storage-daemon", "spdk-vhost")
)


def reason_of(stack: str, capabilities: dict[str, Any], *, head: str = HEAD) -> str | None:
    """The reason for which ``stack`` is skipped, beside another that always runs."""
    name = stack.split(":", maxsplit=1)[0].strip()
    runs = '  zz-null:\n    runs_on: host\n    engine: {ioengine: "null", size: 1g}\n'
    experiment = example(stack, runs + "    ceiling: true\n", head=head)
    skips = make_plan(experiment, capabilities)["skips"]
    assert {skip["stack"] for skip in skips} <= {name}
    return skips[0]["reason"] if skips else None


def qemu(**changes: Any) -> dict[str, Any]:
    """Capabilities whose QEMU differs."""
    return debian_12(qemu={**DEBIAN_12["qemu"], **changes})


def without(*devices: str) -> dict[str, Any]:
    """Capabilities whose QEMU lacks these devices."""
    kept = {k: v for k, v in DEBIAN_12["qemu"]["devices"].items() if k not in devices}
    return qemu(devices=kept)


def with_properties(text: str, stack: str = NVME) -> str:
    """``stack`` with more keys of its device."""
    return stack.replace("device: {", "device: {" + text + ", ")


@pytest.mark.parametrize(
    "stack", [NVME, VIRTIO_BLK, VIRTIO_SCSI, STORAGE_DAEMON, HOST_RAM, GUEST_NULL]
)
def test_debian_12_runs_these(stack: str) -> None:
    """What Debian 12 has is not skipped."""
    assert reason_of(stack, debian_12()) is None


@pytest.mark.parametrize(
    ("stack", "capabilities", "reason"),
    [
        (NVME, debian_12(qemu=None), "no qemu-system-x86_64 on the host"),
        (NVME, without("nvme"), "QEMU 7.2.22 has no device nvme"),
        (VIRTIO_BLK, without("virtio-blk-pci"), "QEMU 7.2.22 has no device virtio-blk-pci"),
        (VIRTIO_SCSI, without("scsi-hd"), "QEMU 7.2.22 has no device scsi-hd"),
        (
            with_properties("properties: {dbcs: off}"),
            debian_12(),
            "QEMU 7.2.22: device nvme has no property dbcs",
        ),
        (
            with_properties("iothreads: 2", VIRTIO_BLK),
            debian_12(),
            f"QEMU 7.2.22: device virtio-blk has no property {MAPPING} ({SINCE_9})",
        ),
        (
            with_properties("iothreads: 1", VIRTIO_BLK),
            qemu(objects=[]),
            "QEMU 7.2.22 has no object iothread",
        ),
        (NVME, qemu(block_drivers=["file"]), "QEMU 7.2.22 has no block driver null-co"),
        (STORAGE_DAEMON, qemu(objects=[]), "QEMU 7.2.22 has no object memory-backend-memfd"),
        (
            STORAGE_DAEMON,
            debian_12(qemu_storage_daemon=None),
            "no qemu-storage-daemon on the host",
        ),
        (
            STORAGE_DAEMON,
            debian_12(qemu_storage_daemon={"version": "7.2.22", "exports": ["nbd"]}),
            "qemu-storage-daemon 7.2.22 has no export vhost-user-blk",
        ),
        (SPDK_VHOST, debian_12(), f"no SPDK vhost on the host ({SPDK})"),
        (SPDK_VHOST, debian_12(spdk=None), f"no SPDK vhost on the host ({SPDK})"),
        (NVME, debian_12(guest_image=None), "no guest image on the host"),
        (NVME, debian_12(accelerator=None), "no accelerator was found to run a guest"),
        (
            NVME + "    engine: {ioengine: xnvme}\n",
            debian_12(),
            "fio 3.33 in the guest has no engine xnvme (nvmelab_builds: xnvme, fio)",
        ),
        (
            HOST_RAM + "    engine: {ioengine: [io_uring, mmap]}\n",
            debian_12(),
            "fio 3.33 has no engine mmap",
        ),
        (
            HOST_RAM.replace("16", "9000"),
            debian_12(),
            "needs 9000 MiB of memory, the host has 8192",
        ),
        (
            NVME.replace("null-co, size_mib: 64", "ram, size_mib: 8000"),
            debian_12(),
            "needs 9024 MiB of memory, the host has 8192",
        ),
        (
            STORAGE_DAEMON + "    server_cpus: 2-4\n",
            debian_12(),
            "server_cpus: 2-4, but the host has CPUs 0-3",
        ),
    ],
)
def test_reason(stack: str, capabilities: dict[str, Any], reason: str) -> None:
    """Each lack is told as one sentence with the version that was asked."""
    assert reason_of(stack, capabilities) == reason


def test_vfio_user_runs_where_both_ends_are_found() -> None:
    """The device in QEMU and SPDK's target are both needed, and enough."""
    devices = {**DEBIAN_12["qemu"]["devices"], "vfio-user-pci": ["socket"]}
    newer = qemu(version="11.1.3", devices=devices)
    spdk = {"nvmf_tgt": "/opt/spdk/nvmf_tgt", "vhost": None, "version": "25.05"}
    assert reason_of(VFIO_USER, {**newer, "spdk": spdk}) is None
    assert reason_of(VFIO_USER, newer) == f"no SPDK nvmf_tgt on the host ({SPDK})"


def test_property_is_believed_from_the_binary_not_from_the_version() -> None:
    """A QEMU 7.2 that lists dbcs has it."""
    devices = {**DEBIAN_12["qemu"]["devices"], "nvme": ["ioeventfd", "dbcs"]}
    assert reason_of(with_properties("properties: {dbcs: off}"), qemu(devices=devices)) is None


def test_all_reasons_of_a_stack_are_told() -> None:
    """Mending one lack after another would cost a run each."""
    reason = reason_of(VFIO_USER, debian_12(guest_image=None))
    assert reason is not None
    assert len(reason.split("; ")) == 3


def test_guest_cpus_beyond_the_host() -> None:
    """Pinning to a CPU that is not there skips guest stacks, and only those."""
    head = HEAD + "guest: {cpus: 3-4}\n"
    assert reason_of(NVME, debian_12(), head=head) == "guest.cpus: 3-4, but the host has CPUs 0-3"
    assert reason_of(HOST_RAM, debian_12(), head=head) is None


def test_host_stacks_need_no_qemu() -> None:
    """A host without QEMU, image and accelerator still measures its ceilings."""
    bare = debian_12(qemu=None, guest_image=None, accelerator=None, qemu_storage_daemon=None)
    assert reason_of(HOST_RAM, bare) is None


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"schema_version": 2}, "schema_version: found 2, wanted 1"),
        ({"cpu_count": None}, "cpu_count: found None"),
        ({"qemu": {"version": "7.2"}}, "qemu.devices"),
    ],
)
def test_wrong_capabilities_are_refused(change: dict[str, Any], wanted: str) -> None:
    """Capabilities of another version or with parts missing are named, not guessed around."""
    with pytest.raises(BadInputError, match=wanted):
        capabilities_from(debian_12(**change), source="lab-1")
