# SPDX-License-Identifier: GPL-3.0-or-later
"""NVMe devices of a real guest given to programs and back: a real kernel binds, or refuses to."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab
from lab_fakes import device, guest_spec

from ansible_collections.nvmelab.bench.plugins.module_utils.guest import running as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.host.capabilities import probe
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_payload, guest_python

FREE, USED, HELD, CARD, ABSENT = (
    *("0000:00:10.0", "0000:00:11.0", "0000:00:12.0", "0000:00:03.0", "0000:00:1e.0"),
)
ROOT = "0000:00:02.0"
RAM = {"kind": "ram", "size_mib": 16}
UIO = "uio_pci_generic"
# As for test_user_space.py; here the one that has uPCIe's tools.
GIVEN = "NVMELAB_TEST_GUEST_PREFIXES"
UPCIE = [
    word for word in os.environ.get(GIVEN, "").split(":") if Path(word, "bin/devbind").is_file()
]


def test_the_role_there_and_back(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """Bound to uio_pci_generic and back, with what the device held; hugepages too."""
    argv = ["ansible-playbook", "tests/end-to-end/playbooks/bind_in_guest.yml"]
    argv += ["-i", "inventories/lab", "-e", f"nvmelab_root={lab.root}"]
    done = lab.run(argv)
    if done.returncode:
        lab.run([*argv, "--tags", "stop"])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    said = " ".join(done.stdout.split())  # Ansible folds long lines
    taken = _told(said, r"TAKEN (\S+) (\S+) (\S+) (\S+) (.*?)")
    driver, uio, command, pages, gone = taken
    assert (driver, uio, pages) == (UIO, "/dev/uio0", "8")
    assert int(command, 16) & 0x4, "the device may not reach memory"
    assert "No such file or directory" in gone
    (back,) = _told(said, r"BACK (.*?)")
    assert back == "kept by the device (null) 0"
    assert lab.processes() == []


def _told(said: str, pattern: str) -> tuple[str, ...]:
    found = re.search(rf"msg: '?{pattern}'? (?:ok:|TASK|PLAY)", said)
    assert found, said[-3000:]
    return found.groups()


@pytest.fixture(scope="module")
def running(
    lab: Lab, tiny_run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[guest.RunningGuest]:
    """A guest with three NVMe devices, one of them mounted and one open in a process."""
    folder = tmp_path_factory.mktemp("run")
    capabilities = probe(lab.root, wanted_accelerator="tcg")
    devices = [device(name, 16 + n, backend=RAM) for n, name in enumerate("abc")]
    running = launch_guest(
        guest_spec(*devices, memory_mib=512), directory=folder, qemu=capabilities["qemu"],
        image=capabilities["guest_image"], accelerator="tcg", deadline_s=300,
    ).wait()  # fmt: skip
    try:
        file_system = folder / "file-system"
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", str(file_system), "1m"], check=True
        )
        disk = "/dev/$(basename /sys/bus/pci/devices/{}/nvme/nvme*/nvme*n1)"
        script = (
            f"udevadm settle; disk={disk.format(USED)}; cat > $disk; mount -t ext4 $disk /srv;"
            f"sleep 600 < {disk.format(HELD)} > /dev/null 2>&1 & echo $!"
        )
        done = subprocess.run(
            running.ssh.argv(script), input=file_system.read_bytes(), capture_output=True,
            check=True, timeout=120,
        )  # fmt: skip
        running.spec["holder"] = done.stdout.decode().strip()
        yield running
    finally:
        running.stop()


def bind(running: guest.RunningGuest, **wish: Any) -> dict[str, Any]:
    """What the guest answers."""
    return guest_python.call(running.ssh, wish, deadline_s=120)


def test_a_device_that_cannot_be_had_is_refused(running: guest.RunningGuest) -> None:
    """Mounted, open, holding the root, no NVMe device, absent: each cause; the free one is had."""
    wanted = dict.fromkeys((FREE, USED, HELD, ROOT, CARD, ABSENT), UIO)
    answer = bind(running, drivers=wanted)
    assert answer["before"] == {FREE: {"driver": "nvme", "override": None}}
    refused = answer["refused"]
    assert re.fullmatch(rf"{USED}: /dev/nvme\dn1 is mounted on /srv: in use, not .*", refused[USED])
    held = rf"{HELD}: /dev/nvme\dn1 is open in sleep \(pid {running.spec['holder']}\): in use.*"
    assert re.fullmatch(held, refused[HELD])
    assert " holds the root file system: in use" in refused[ROOT]
    assert f"{CARD}: found a device of PCI class 0x020000, wanted NVMe" in refused[CARD]
    assert f"{ABSENT}: no such PCI device; NVMe devices here: {ROOT} (nvme)" in refused[ABSENT]
    # A driver of the guest's kernel that needs what this machine has not.
    refused = bind(running, drivers={FREE: "vfio-pci"})["refused"]
    assert refused[FREE].startswith(f"{FREE}: no IOMMU group")
    answer = bind(running, back=answer["before"])
    assert answer["before"] == {FREE: {"driver": UIO, "override": UIO}}
    assert answer["refused"] == {}


def test_hugepages_are_reserved_as_far_as_memory_goes(running: guest.RunningGuest) -> None:
    """What was wished for is free; more than the memory holds is told as what there is."""
    assert bind(running, hugepages_2m=32)["hugepages_free"] == 32
    free = bind(running, hugepages_2m=512)["hugepages_free"]
    assert 32 <= free < 256, "the guest has 512 MiB"


@pytest.mark.skipif(not UPCIE, reason=f"{GIVEN} names no uPCIe with its tools")
def test_upcies_own_tools(running: guest.RunningGuest) -> None:
    """By their names in the guest: bind, back, hugepages; a device with an open file is kept."""
    guest_payload.send({"paths": UPCIE, "programs": {}}, running.ssh)
    pages = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    script = f"""
        driver() {{ basename $(readlink /sys/bus/pci/devices/$1/driver); }}
        modprobe {UIO}
        devbind --device {FREE} --bind {UIO}; driver {FREE}
        devbind --device {FREE} --bind nvme; driver {FREE}
        devbind --device {HELD} --bind {UIO}; driver {HELD}
        hugepages setup --size 2048 --count 16; cat {pages}
    """
    done = subprocess.run(
        running.ssh.argv(script), capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == [UIO, "nvme", "nvme", "16"], done.stderr
