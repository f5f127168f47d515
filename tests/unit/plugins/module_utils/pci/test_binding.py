# SPDX-License-Identifier: GPL-3.0-or-later
"""Bindings on a fake kernel: there and back, and whatever fails, the device is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_pci import FIRST, NETWORK, SECOND, FakePci

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci import binding
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import (
    Binding,
    PciError,
    describe,
    full_address,
)

UIO = Binding("uio_pci_generic", "uio_pci_generic")
VFIO = Binding("vfio-pci", "vfio-pci")
KERNELS = Binding("nvme", None)
MOST_WRITES = 6


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePci:
    """Two NVMe devices that the kernel drives, and a network card."""
    return FakePci(tmp_path).install(monkeypatch)


def test_there_and_back(machine: FakePci) -> None:
    """The module is loaded, the device bound, may reach memory and not interrupt; and back."""
    start = machine.picture()
    assert binding.change(FIRST, UIO, system=machine.root) == KERNELS
    assert machine.modprobes == [["--dry-run", "uio_pci_generic"], ["uio_pci_generic"]]
    assert machine.picture()[FIRST] == "uio_pci_generic, driver_override uio_pci_generic"
    # PCI's command register: bit 2 is bus mastering, bit 10 disables the interrupt line.
    assert (machine.place(FIRST) / "config").read_bytes()[4:6] == bytes([7, 4])
    assert binding.change(FIRST, KERNELS, system=machine.root) == UIO
    assert machine.picture() == start
    assert describe(machine.place(FIRST))["block_devices"] == ["nvme0n1"]


def test_what_is_right_is_not_touched(machine: FakePci) -> None:
    """No write, no modprobe."""
    binding.change(FIRST, KERNELS, system=machine.root)
    assert machine.writes == machine.modprobes == []


@pytest.mark.parametrize("override", ["(null)", "nvme"])
@pytest.mark.parametrize("wanted", [UIO, VFIO, Binding(None)], ids=str)
@pytest.mark.parametrize("fail_at", range(MOST_WRITES))
def test_whatever_write_fails_the_device_has_its_old_driver(
    machine: FakePci, wanted: Binding, fail_at: int, override: str
) -> None:
    """Each write in turn: driver and override are as before, the error names the file."""
    machine.group("1", FIRST)
    (machine.place(FIRST) / "driver_override").write_text(f"{override}\n")
    start = machine.picture()
    machine.fail_at = {fail_at}
    said = ""
    try:
        binding.change(FIRST, wanted, system=machine.root)
    except PciError as error:
        said = str(error)
    if len(machine.writes) <= fail_at:
        assert not said
        return
    assert machine.picture() == start
    assert "Input/output error; it has nvme" in said
    assert f": {machine.root}/" in said


@pytest.mark.parametrize("fail_at", range(3))
def test_the_way_back_is_tried_again(machine: FakePci, fail_at: int) -> None:
    """Also when the first write of putting it back fails."""
    start = machine.picture()
    machine.fail_at = {fail_at, fail_at + 1}
    with pytest.raises(PciError, match="it has nvme again"):
        binding.change(FIRST, UIO, system=machine.root)
    assert machine.picture() == start


def test_a_device_that_cannot_be_put_back_is_told_with_what_to_do(machine: FakePci) -> None:
    """Neither driver takes it: the message says what it has, and which files to write."""
    machine.refuses = {"uio_pci_generic", "nvme"}
    with pytest.raises(PciError) as caught:
        binding.change(FIRST, UIO, system=machine.root)
    said = str(caught.value)
    assert "could not be given nvme again" in said
    assert "it has no driver" in said
    assert f"write nvme to {machine.place(FIRST)}/driver_override" in said


def test_a_device_that_had_no_driver_is_told_with_what_to_do(machine: FakePci) -> None:
    """There is no name to write back then: the override is emptied, and a driver lets it go."""
    place = machine.place(FIRST)
    (place / "driver").unlink()
    machine.refuses, machine.fail_at = {"uio_pci_generic"}, set(range(2, 20))
    with pytest.raises(PciError, match=f"write an empty line to {place}/driver_override$"):
        binding.change(FIRST, UIO, system=machine.root)
    machine.refuses, machine.fail_at = set(), set()
    machine.put(f"{place.relative_to(machine.root)}/driver_override", "(null)\n")
    (place / "config").unlink()  # so that the device cannot be prepared once it is bound
    machine.fail_at = set(range(len(machine.writes) + 2, 99))
    with pytest.raises(PciError, match=f"and {FIRST} to {place}/driver/unbind$"):
        binding.change(FIRST, UIO, system=machine.root)


def test_a_driver_that_does_not_take_the_device(machine: FakePci) -> None:
    """The kernel's probe says no: the cause, and the old driver is back."""
    machine.refuses = {"uio_pci_generic"}
    start = machine.picture()
    with pytest.raises(PciError, match=r"found no driver.*wanted uio_pci_generic.*has nvme again"):
        binding.change(FIRST, UIO, system=machine.root)
    assert machine.picture() == start


def test_a_module_that_is_not_there(machine: FakePci) -> None:
    """Said before anything is written."""
    machine.loadable = set()
    with pytest.raises(PciError, match="driver uio_pci_generic: the kernel cannot load its module"):
        binding.change(FIRST, UIO, system=machine.root)
    assert machine.writes == []


def test_an_interruption_leaves_the_old_driver(
    machine: FakePci, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between unbind and probe."""
    start, write = machine.picture(), machine.written
    broken = False

    def interrupted(path: Path, text: str) -> None:
        nonlocal broken
        if path.name == "drivers_probe" and not broken:
            broken = True
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(binding, "sysfs_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        binding.change(FIRST, UIO, system=machine.root)
    assert machine.picture() == start


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("0000:00:1f.0", rf"0000:00:1f.0: no such PCI device; NVMe devices here: {FIRST} \(nvme\)"),
        (NETWORK, r"found a device of PCI class 0x020000, wanted NVMe"),
        ("00:1g.0", "wanted a PCI address such as 0000:3b:00.0"),
    ],
)
def test_what_is_no_nvme_device_is_refused(machine: FakePci, address: str, said: str) -> None:
    """An absent address, another class, no address: each named, nothing written."""
    with pytest.raises(NvmelabError, match=said):
        binding.change(address, UIO, system=machine.root)
    assert machine.writes == []


def test_addresses_as_lspci_prints_them() -> None:
    """Without a domain, in capitals."""
    assert full_address("3B:00.0") == "0000:3b:00.0"
    assert full_address(" 0001:3b:1f.7") == "0001:3b:1f.7"


def used_by(machine: FakePci, how: str) -> None:
    """Have the first disk used."""
    sys, mountinfo = "sys/class/block", "22 1 254:1 / / rw - ext4 /dev/vda1 rw"
    match how:
        case "mounted":
            machine.put("proc/self/mountinfo", f"{mountinfo}\n30 22 259:01 / /data rw - ext4 x rw")
        case "root":
            machine.put("proc/self/mountinfo", "22 1 259:01 / / rw - ext4 /dev/root rw")
        case "btrfs":
            line = "30 22 0:30 / /data rw - btrfs /dev/nvme0n1p1 rw"
            machine.put("proc/self/mountinfo", f"{mountinfo}\n{line}")
        case "btrfs member":
            (machine.root / "sys/fs/btrfs/6e76/devices/nvme0n1").mkdir(parents=True)
        case "swap":
            machine.put("proc/swaps", "Filename\n/dev/nvme0n1p1 partition 1 0 -2")
        case "dm":
            machine.put(f"{sys}/nvme0n1/holders/dm-0/dm/name", "vg-root")
        case "md":
            (machine.root / f"{sys}/nvme0n1p1/holders/md0").mkdir()
        case "loop":
            machine.put(f"{sys}/loop0/loop/backing_file", "/dev/nvme0n1")
        case "process":
            machine.process(77, "fio", "/dev/ng0n1")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("mounted", "/dev/nvme0n1p1 is mounted on /data"),
        ("root", "/dev/nvme0n1p1 holds the root file system"),
        ("btrfs", "/dev/nvme0n1p1 is mounted on /data"),
        ("btrfs member", "/dev/nvme0n1 belongs to the btrfs 6e76"),
        ("swap", "/dev/nvme0n1p1 is used as swap"),
        ("dm", r"/dev/nvme0n1 is held by dm-0 \(vg-root\)"),
        ("md", "/dev/nvme0n1p1 is held by md0"),
        ("loop", "/dev/nvme0n1 is behind loop0"),
        ("process", r"/dev/ng0n1 is open in fio \(pid 77\)"),
    ],
)
def test_a_device_in_use_is_refused(machine: FakePci, how: str, said: str) -> None:
    """Each use has its cause in one line; nothing is written, and the other device is free."""
    used_by(machine, how)
    with pytest.raises(PciError, match=f"^{FIRST}: {said}: in use"):
        binding.change(FIRST, UIO, system=machine.root)
    assert machine.writes == []
    binding.change(SECOND, UIO, system=machine.root)


def test_udev_looking_at_a_new_disk_is_no_use(machine: FakePci) -> None:
    """It does so after each boot, just when a run takes the device."""
    machine.process(77, "(udev-worker)", "/dev/nvme0n1")
    binding.change(FIRST, UIO, system=machine.root)
    assert machine.picture()[FIRST].startswith("uio_pci_generic")


def test_a_disk_with_multipath_is_known_by_its_head(machine: FakePci) -> None:
    """What hangs below the device is hidden; the mount is of the head."""
    below = machine.place(FIRST) / "nvme/nvme0"
    (below / "nvme0n1").rename(below / "nvme0c0n1")
    used_by(machine, "mounted")
    with pytest.raises(PciError, match="/dev/nvme0n1p1 is mounted on /data"):
        binding.change(FIRST, UIO, system=machine.root)


def test_a_program_that_drives_the_device_itself_keeps_it(machine: FakePci) -> None:
    """Its registers are mapped, the file closed: seen in the process's maps."""
    binding.change(FIRST, UIO, system=machine.root)
    registers = machine.place(FIRST) / "resource0"
    machine.put("proc/88/comm", "fio")
    (machine.root / "proc/88/fd").mkdir()
    machine.put("proc/88/maps", f"7f00-7f01 rw-s 00000000 00:15 12 {registers}")
    with pytest.raises(PciError, match=r"resource0 is open in fio \(pid 88\)"):
        binding.change(FIRST, KERNELS, system=machine.root)


def test_vfio_needs_an_iommu_or_leave(machine: FakePci) -> None:
    """Without a group it is refused; with leave the kernel's switch is set, if it has one."""
    with pytest.raises(PciError, match=r"no IOMMU group.*unsafe_noiommu"):
        binding.change(FIRST, VFIO, system=machine.root)
    assert machine.writes == []
    with pytest.raises(PciError, match=r"without CONFIG_VFIO_NOIOMMU.*it has nvme again"):
        binding.change(FIRST, VFIO, system=machine.root, unsafe_noiommu=True)
    switch = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    machine.put(switch, "N")
    binding.change(FIRST, VFIO, system=machine.root, unsafe_noiommu=True)
    assert (machine.root / switch).read_text() == "Y\n"
    machine.refuses = {"vfio-pci"}
    machine.put(switch, "N")
    with pytest.raises(PciError, match="it has nvme again"):
        binding.change(SECOND, VFIO, system=machine.root, unsafe_noiommu=True)
    assert (machine.root / switch).read_text() == "N\n"


def test_vfio_wants_the_whole_group(machine: FakePci) -> None:
    """A neighbour that the kernel drives is named."""
    machine.group("7", FIRST, SECOND)
    with pytest.raises(PciError, match=rf"group 7 also holds {SECOND} \(nvme\)"):
        binding.change(FIRST, VFIO, system=machine.root)
    binding.change(SECOND, Binding(None), system=machine.root)
    binding.change(FIRST, VFIO, system=machine.root)
    assert machine.picture()[FIRST] == "vfio-pci, driver_override vfio-pci"


def test_which_binding_a_driver_means() -> None:
    """What is right stays; what is on record is taken as recorded; overrides only for programs."""
    assert binding.wanted_binding("nvme", KERNELS) == KERNELS
    assert binding.wanted_binding("nvme", Binding("nvme", "nvme")) == Binding("nvme", "nvme")
    assert binding.wanted_binding("nvme", UIO) == KERNELS
    assert binding.wanted_binding("nvme", UIO, Binding("nvme", "nvme")) == Binding("nvme", "nvme")
    assert binding.wanted_binding("uio_pci_generic", KERNELS) == UIO
    assert binding.wanted_binding("uio_pci_generic", Binding("uio_pci_generic")) == Binding(
        "uio_pci_generic"
    )
    with pytest.raises(BadInputError, match=r"igb_uio.*wanted one of nvme"):
        binding.wanted_binding("igb_uio", KERNELS)
