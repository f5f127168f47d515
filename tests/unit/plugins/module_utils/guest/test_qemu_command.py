# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU command of a guest: the same for the same specification, and one that QEMU takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_fakes import device, guest_spec, qemu_capabilities

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_command import (
    GuestFiles,
    qemu_argv,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_devices import SLOTS
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import Qmp, QmpError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.qemu_probe import probe_qemu
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

FILES = GuestFiles(
    disk="/images/disk.raw",
    serial_log="/run/serial.log",
    qmp_socket="/run/qmp",
    kernel="/images/kernel",
    kernel_cmdline="root=PARTUUID=1 quiet",
    backends={"disk": Backend("null-co", 1 << 20)},
)
QEMU = shutil.which("qemu-system-x86_64")


def _argv(spec: dict[str, Any] | None = None, **options: Any) -> list[str]:
    defaults = {
        "qemu": qemu_capabilities(),
        "accelerator": "tcg",
        "files": FILES,
        "ssh_port": 2022,
    }
    return qemu_argv(spec or guest_spec(device()), **{**defaults, **options})


def test_golden_command() -> None:
    """The whole command of a guest with one device, word for word."""
    assert " ".join(_argv()) == (
        "/usr/bin/qemu-system-x86_64 -name guest=guest-1,debug-threads=on "
        "-machine q35,memory-backend=mem0 "
        "-accel tcg,thread=multi -cpu max,la57=off,erms=off,fsrm=off "
        "-smp 2 -m 64M -object memory-backend-memfd,id=mem0,size=64M,share=on "
        "-nodefaults -no-user-config -display none -no-reboot "
        "-serial file:/run/serial.log -qmp unix:/run/qmp,server=on,wait=off "
        "-drive if=none,id=root,file=/images/disk.raw,format=raw,cache=unsafe,snapshot=on,"
        "werror=report,rerror=report -device nvme,drive=root,serial=root,addr=0x02 "
        "-netdev user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:2022-:22 "
        "-device virtio-net-pci,netdev=net0,romfile=,addr=0x03 "
        "-device pvpanic-pci,addr=0x04 -action panic=exit-failure "
        "-blockdev driver=null-co,node-name=node-disk,size=1048576,read-zeroes=on "
        "-device nvme,id=disk,bus=pcie.0,addr=0x10,drive=node-disk,serial=disk "
        "-kernel /images/kernel -append root=PARTUUID=1 quiet"
    )


def test_kvm_runs_the_hosts_own_cpu() -> None:
    """Under KVM the guest has the host's CPU; nothing falls back to TCG unsaid."""
    argv = _argv(accelerator="kvm")
    assert argv[argv.index("-accel") :][:4] == ["-accel", "kvm", "-cpu", "host"]
    assert argv.count("-accel") == 1


def test_kernel_arguments_and_an_iommu_of_a_guest() -> None:
    """Added to the image's; an image that boots by itself cannot have any."""
    spec = guest_spec(device(), kernel_args=["nvme.poll_queues=1"], iommu=True)
    argv = _argv(spec)
    assert argv[-1] == "root=PARTUUID=1 quiet nvme.poll_queues=1"
    assert argv[argv.index("intel-iommu") - 1] == "-device"
    with pytest.raises(
        BadInputError, match=r"kernel arguments nvme\.poll_queues=1: its image boots"
    ):
        _argv(spec, files=replace(FILES, kernel=None))


def test_a_device_from_outside_is_told_what_the_iommu_maps() -> None:
    """Without caching-mode QEMU 11.1 ends: "vfio: DMA mapping failed, unable to continue"."""
    spec = guest_spec(device(model="vfio-user-pci", backend=None), iommu=True)
    files = GuestFiles("/d", "/s", "/q", "/k", sockets={"disk": "/v"})
    argv = _argv(spec, files=files)
    assert "intel-iommu,caching-mode=on" in argv
    # In front of the devices behind it.
    served = next(word for word in argv if "vfio-user-pci" in word)
    assert argv.index("intel-iommu,caching-mode=on") < argv.index(served)


def test_an_image_without_a_kernel_boots_by_firmware() -> None:
    """The root disk gets a boot index only where no kernel has it already."""
    files = GuestFiles(disk="/d", serial_log="/s", qmp_socket="/q")
    argv = _argv(guest_spec(), files=files)
    assert "-kernel" not in argv
    assert "nvme,drive=root,serial=root,addr=0x02,bootindex=1" in argv
    assert "-initrd" in _argv(guest_spec(), files=GuestFiles("/d", "/s", "/q", "/k", "/i"))


def test_vfio_user_is_not_left_to_seabios() -> None:
    """SeaBIOS drives a vfio-user controller for 10 s: qboot does not, where there is one."""
    spec = guest_spec(device(model="vfio-user-pci", backend=None))
    files = GuestFiles("/d", "/s", "/q", "/k", sockets={"disk": "/v"})
    argv = _argv(spec, files=files)
    assert argv[argv.index("-bios") + 1] == "/firmware/qboot.rom"
    assert "-bios" not in _argv(spec, files=files, qemu={**qemu_capabilities(), "qboot": None})
    assert "-bios" not in _argv()


@given(st.permutations([5, 9, 16, 17, 30]), st.sets(st.integers(0, 4), max_size=4))
def test_leaving_devices_out_moves_no_other(slots: list[int], left_out: set[int]) -> None:
    """A device's arguments do not depend on which other devices there are."""
    devices = [device(f"d{slot}", slot) for slot in slots]
    kept = [d for number, d in enumerate(devices) if number not in left_out]
    files = GuestFiles(
        "/d", "/s", "/q", "/k", backends={d["name"]: Backend("null-co", 1) for d in devices}
    )
    all_words, fewer_words = (_argv(guest_spec(*some), files=files) for some in (devices, kept))
    assert set(fewer_words) <= set(all_words)
    assert [w for w in all_words if w in fewer_words or not w.startswith(("nvme,id=", "driver="))]
    for d in kept:
        assert sum(f"addr=0x{d['slot']:02x}," in word for word in fewer_words) == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (guest_spec(device("a", 16), device("b", 16)), "guest-1: two devices with slot 16"),
        (guest_spec(device("a", 16), device("a", 17)), "guest-1: two devices with name a"),
    ],
)
def test_two_devices_in_one_place_are_refused(spec: dict[str, Any], said: str) -> None:
    """One slot holds one device, one name means one."""
    with pytest.raises(BadInputError, match=said):
        _argv(spec)


def test_an_unknown_accelerator_is_refused() -> None:
    """Only accelerators that were thought of are started."""
    with pytest.raises(BadInputError, match="accelerator 'hax': wanted one of tcg, kvm"):
        _argv(accelerator="hax")


@pytest.mark.qemu
@pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed")
def test_qemu_takes_the_command_and_puts_every_device_into_its_slot(tmp_path: Path) -> None:
    """QEMU itself, asked over QMP, has what the command was meant to give it."""
    devices = [
        device("a", 16, "nvme", properties={"ioeventfd": "on"}),
        device("b", 30, "virtio-blk", iothreads=1, properties={"packed": "on"}),
        device("3c", 5, "virtio-scsi", iothreads=1),
    ]
    (tmp_path / "disk.raw").write_bytes(bytes(1 << 20))
    files = GuestFiles(
        disk=str(tmp_path / "disk.raw"),
        serial_log=str(tmp_path / "serial.log"),
        qmp_socket=str(tmp_path / "qmp"),
        backends={d["name"]: Backend("null-co", 1 << 20) for d in devices},
    )
    argv = _argv(guest_spec(*devices), qemu=probe_qemu(str(QEMU)), files=files, ssh_port=0)
    process = processes.start(
        [*argv, "-S"], name="q", log_path=tmp_path / "q.log", record_dir=tmp_path
    )
    try:
        while processes.is_alive(process):
            try:
                qmp = Qmp(files.qmp_socket)
                break
            except QmpError:
                continue
        assert processes.is_alive(process), processes.log_tail(process.log)
        with qmp:
            bus = qmp.execute("query-pci")[0]["devices"]
            threads = {thread["id"] for thread in qmp.execute("query-iothreads")}
    finally:
        processes.stop(process)
    classes = {entry["slot"]: entry["class_info"]["class"] for entry in bus}
    assert {classes[slot] for slot in (2, 16)} == {0x0108}
    assert (classes[30], classes[5], classes[3]) == (0x0100, 0x0100, 0x0200)
    assert threads == {"b-io0", "d3c-io0"}


def test_24_devices_of_a_target_fit_one_guest() -> None:
    """Each has a slot of its own on bus 0 and its own socket; the memory is shared."""
    devices = [device(f"d{n}", slot, "vfio-user-pci") for n, slot in enumerate(SLOTS[:24])]
    sockets = {f"d{n}": f"/run/d{n}/cntrl" for n in range(24)}
    words = _argv(guest_spec(*devices), files=replace(FILES, backends={}, sockets=sockets))
    made = [json.loads(word) for word in words if word.startswith('{"driver": "vfio-user-pci"')]
    assert [one["socket"]["path"] for one in made] == list(sockets.values())
    addresses = [one["addr"] for one in made]
    assert len(set(addresses)) == 24
    assert not {"0x00", "0x01", "0x02", "0x03", "0x04", "0x1f"} & set(addresses)
    assert "memory-backend-memfd,id=mem0,size=64M,share=on" in words


def test_memory_in_hugepages_is_shared_too() -> None:
    """Taken whole at the start: a guest that runs out of them later would die."""
    words = _argv(guest_spec(device(), hugepages=True))
    assert (
        "memory-backend-memfd,id=mem0,size=64M,share=on,hugetlb=on,hugetlbsize=2M,prealloc=on"
        in words
    )
