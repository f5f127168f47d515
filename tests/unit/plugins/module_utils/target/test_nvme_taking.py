# SPDX-License-Identifier: GPL-3.0-or-later
"""Real NVMe devices on a fake kernel: which SPDK may have, by which driver; there and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_pci import FIRST, NETWORK, SECOND, FakePci

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import PciError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_device, nvme_taking

ABSENT = "0000:00:1f.0"
UIO, VFIO = "uio_pci_generic", "vfio-pci"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePci:
    """Two empty NVMe devices that the kernel drives, and a network card."""
    made = FakePci(tmp_path / "system", partitions=False).install(monkeypatch)
    monkeypatch.setattr(nvme_taking, "SYSTEM", made.root)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory."""
    return tmp_path / "run"


def test_the_driver_is_the_one_that_reaches_memory(machine: FakePci) -> None:
    """No IOMMU: uio; one that translates: vfio only; one passed through: uio, if vfio cannot."""
    assert nvme_device.driver_for(FIRST, machine.root) == UIO
    machine.group("1", FIRST, NETWORK)
    (machine.place(NETWORK) / "driver").symlink_to(machine.driver("virtio-pci"))
    with pytest.raises(PciError, match=rf"leaves it to SPDK: its IOMMU group 1 also.*{NETWORK}"):
        nvme_device.driver_for(FIRST, machine.root)
    machine.put("sys/kernel/iommu_groups/1/type", "identity")
    assert nvme_device.driver_for(FIRST, machine.root) == UIO
    machine.group("2", SECOND)
    assert nvme_device.driver_for(SECOND, machine.root) == VFIO


def test_neither_iommu_nor_uio_is_one_line(machine: FakePci) -> None:
    """Both causes, each with what to do about it."""
    machine.loadable = {"nvme"}
    with pytest.raises(PciError) as caught:
        nvme_device.driver_for(FIRST, machine.root)
    said = str(caught.value)
    assert said.startswith(f"{FIRST}: no driver leaves it to SPDK: driver {UIO}: the kernel cannot")
    assert said.endswith("; and no IOMMU for vfio-pci; boot with one (intel_iommu=on)")
    assert "\n" not in said


def _mount(machine: FakePci) -> None:
    machine.put("proc/self/mountinfo", "36 35 259:0 / /data rw - xfs /dev/nvme0n1 rw")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (_mount, "/dev/nvme0n1 is mounted on /data: in use; its data would be lost"),
        (lambda m: m.process(7, "dd", "/dev/nvme0n1"), r"/dev/nvme0n1 is open in dd \(pid 7\)"),
        (
            lambda m: m.put("sys/class/block/nvme0n1/nvme0n1p3/start", "1"),
            r"/dev/nvme0n1 has partitions \(nvme0n1p3\); .*wipefs --all /dev/nvme0n1\)",
        ),
        (
            lambda m: m.put("run/udev/data/b259:0", "S:disk\nE:ID_FS_TYPE=LVM2_member"),
            "/dev/nvme0n1 holds LVM2_member; it would be written over",
        ),
    ],
)
def test_a_device_that_somebody_may_miss_is_refused(
    machine: FakePci, trouble: Callable[[FakePci], None], said: str
) -> None:
    """In use, or not empty as far as the kernel and udev know; nothing is written to the kernel."""
    trouble(machine)
    (looked,) = nvme_device.look_at([FIRST], machine.root)
    assert looked["program_driver"] is None
    with pytest.raises(PciError, match=f"^{FIRST}: {said}"):
        nvme_taking.take([FIRST], machine.root)
    assert looked["refusal"].startswith(f"{FIRST}: /dev/nvme0n1 ")
    assert machine.writes == []


def test_what_a_plan_learns_of_devices(machine: FakePci) -> None:
    """Each once, in the order given, by its whole address; an absent one only has its cause."""
    machine.put(f"sys/bus/pci/devices/{FIRST}/numa_node", "1")
    first, absent = nvme_device.look_at(["00:10.0", FIRST, ABSENT], machine.root)
    assert first == {
        "address": FIRST, "driver": "nvme", "numa_node": 1, "model": None, "refusal": None,
        "namespaces": [{"nsid": 1, "size_mib": 16, "block_bytes": 4096}], "program_driver": UIO,
    }  # fmt: skip
    assert absent["refusal"].startswith(f"{ABSENT}: no such PCI device; NVMe devices here: {FIRST}")
    with pytest.raises(BadInputError, match="wanted a PCI address"):
        nvme_device.look_at(["nvme0"], machine.root)


def test_there_and_back(machine: FakePci, run: Path) -> None:
    """On record before the kernel lets go; one given back alone leaves the other taken."""
    start = machine.picture()
    nvme_taking.take([FIRST, SECOND], run)
    taken = f"{UIO}, driver_override {UIO}"
    assert machine.picture() == {FIRST: taken, SECOND: taken}
    assert nvme_taking.give_back(run, [FIRST, ABSENT]) == [FIRST]
    assert machine.picture() == {FIRST: start[FIRST], SECOND: taken}
    machine.put(f"var/tmp/spdk_pci_lock_{SECOND}", "of a killed SPDK")
    assert nvme_taking.give_back(run) == [SECOND]
    assert machine.picture() == start
    assert list((machine.root / "var/tmp").iterdir()) == []
    assert nvme_taking.give_back(run) == []
    assert list(run.iterdir()) == []


def test_all_or_none(machine: FakePci, run: Path) -> None:
    """A second one that its new driver does not take: the first is given back as well."""
    start = machine.picture()
    machine.fail_at = {4}  # the first write for the second device
    with pytest.raises(PciError, match=f"{SECOND}: not bound to {UIO}"):
        nvme_taking.take([FIRST, SECOND], run)
    assert machine.picture() == start
    assert not (run / nvme_taking.RECORD).exists()


def test_one_that_programs_have_already_keeps_its_driver(machine: FakePci, run: Path) -> None:
    """Whoever bound it wants it so: nothing is changed, nothing given back."""
    nvme_taking.take([FIRST], run / "by-hand")
    machine.writes.clear()
    nvme_taking.take([FIRST], run)
    assert nvme_taking.give_back(run, [FIRST]) == []
    assert machine.writes == []
    assert nvme_device.look_at([FIRST], machine.root)[0]["namespaces"] is None


@pytest.mark.parametrize("change", ["unplugged", "rebooted"])
def test_a_device_with_nothing_to_undo_is_forgotten(
    machine: FakePci, run: Path, change: str
) -> None:
    """Pulled out, or after a reboot, which gives everything back by itself."""
    nvme_taking.take([FIRST], run)
    if change == "unplugged":
        machine.place(FIRST).rename(machine.root / "gone")
    else:
        machine.put("proc/sys/kernel/random/boot_id", "boot-2")
    assert nvme_taking.give_back(run) == []
    assert not (run / nvme_taking.RECORD).exists()


def test_one_that_is_still_open_stays_on_record(machine: FakePci, run: Path) -> None:
    """A process that lives on has it: told, and given back once that has ended."""
    nvme_taking.take([FIRST], run)
    resource = machine.place(FIRST) / "resource0"
    machine.process(7, "nvmf_tgt", str(resource))
    left = nvme_taking.give_back_or_say(run, [FIRST])
    assert left
    assert left.startswith(f"not given back: {FIRST}: {resource} is open in nvmf_tgt (pid 7)")
    (machine.root / "proc/7/fd/3").unlink()
    assert nvme_taking.give_back(run) == [FIRST]


def test_exports_name_their_devices_and_none_twice() -> None:
    """SPDK has a device once; a plan for no host in particular cannot be run."""
    real = {"kind": "bdev_nvme", "bdf": FIRST}
    exports = [{"name": "a", "backend": real}, {"name": "b", "backend": {"kind": "bdev_null"}}]
    assert nvme_taking.addresses_of(exports) == [FIRST]
    with pytest.raises(NvmelabError, match=f"c: {FIRST} is another's backend"):
        nvme_taking.addresses_of([*exports, {"name": "c", "backend": real}])
    with pytest.raises(BadInputError, match="d: backend bdev_nvme names no device"):
        nvme_taking.addresses_of([{"name": "d", "backend": {**real, "bdf": None}}])
