# SPDX-License-Identifier: GPL-3.0-or-later
"""What an SPDK target needs of its host is looked for before it is started."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from fake_pci import FIRST, NETWORK, SECOND, FakePci
from fake_spdk_host import FakeSpdkHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    nvme_device,
    spdk_host,
    spdk_live,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import spdk as spdk_target
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import asked_items


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSpdkHost:
    """A lab host with CPUs 0 to 3."""
    return FakeSpdkHost(tmp_path / "host").install(monkeypatch)


@pytest.mark.parametrize(
    ("free", "promised", "used", "mounted", "said"),
    [
        (0, 0, 0, "2M", r"512 MiB of hugepages, 0 MiB are free; reserve 256 more .*: 256 in all"),
        (10, 0, 0, "2M", r"20 MiB are free; .*sysctl vm\.nr_hugepages=256$"),
        # The sysctl says how many there shall be in all: what others have must stay theirs.
        (10, 0, 1000, "2M", r"reserve 246 more pages .*sysctl vm\.nr_hugepages=1256$"),
        (256, 1, 0, "2M", r"510 MiB are free; reserve 1 more .*nr_hugepages=257$"),
        (256, 0, 0, None, r"no hugetlbfs is mounted for those of 2048 KiB"),
        (256, 0, 0, "1024M", r"no hugetlbfs is mounted"),
    ],
)
def test_hugepages_none_too_few_not_mounted(
    host: FakeSpdkHost, free: int, promised: int, used: int, mounted: str | None, said: str
) -> None:
    """Each has its own words and the next step; sizes of which none are there are no matter."""
    host.pages(free, promised=promised, used=used)
    host.pages(0, size_kib=1048576)
    host.mounted(mounted)
    with pytest.raises(NvmelabError, match=said) as caught:
        spdk_host.require_hugepages("t", 512)
    assert "1048576" not in str(caught.value)


def test_the_pages_that_the_sysctl_counts_are_named(host: FakeSpdkHost) -> None:
    """On a host whose default are pages of 1 GiB, vm.nr_hugepages is a number of those."""
    host.put("proc/meminfo", "Hugepagesize:    1048576 kB\n")
    host.pages(0, used=3, size_kib=1048576)
    host.pages(10)
    with pytest.raises(NvmelabError, match=r"1 more pages of 1048576 KiB: 4 in all.*pages=4$"):
        spdk_host.require_hugepages("t", 512)


def test_enough_hugepages_pass(host: FakeSpdkHost) -> None:
    """Exactly as many as wanted, mounted, are enough."""
    host.pages(256)
    spdk_host.require_hugepages("t", 512)


def test_a_core_that_is_not_there(host: FakeSpdkHost) -> None:
    """Told with the CPUs that are."""
    assert host.root.exists()
    with pytest.raises(BadInputError, match=r"t: cpus 4, 7: the host has CPUs 0-3"):
        spdk_host.require_cores("t", [3, 4, 7])


def test_a_core_that_another_application_holds(host: FakeSpdkHost) -> None:
    """A lock that is held names its holder; a file that is left over does no harm."""
    host.lock(2).write_text("\x01\x02\x03\x04")
    spdk_host.require_cores("t", [2])
    with (
        host.claimed(2) as pid,
        pytest.raises(NvmelabError, match=rf"CPU 2 is claimed .*\(pid {pid}\)"),
    ):
        spdk_host.require_cores("t", [1, 2])


def test_the_lock_is_only_asked_after(host: FakeSpdkHost) -> None:
    """Looking takes no lock: SPDK itself can have it right then."""
    lock = host.lock(0)
    spdk_host.require_cores("t", [0])
    with lock.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (FIRST, "/dev/nvme0n1p1 is mounted on /data: in use; its data would be lost"),
        (SECOND, "bound to driver nvme, wanted one of uio_pci_generic, vfio-pci, igb_uio"),
        (NETWORK, "found a device of PCI class 0x020000, wanted NVMe"),
    ],
)
def test_a_real_device_that_may_not_be_attached(tmp_path: Path, address: str, said: str) -> None:
    """What is mounted, bound wrongly or no NVMe device is refused by its address."""
    machine = FakePci(tmp_path)
    machine.put("proc/self/mountinfo", "36 35 259:01 / /data rw - ext4 /dev/nvme0n1p1 rw")
    with pytest.raises(NvmelabError, match=f"{address}: {said}"):
        nvme_device.require_bound(address, machine.root)


def test_a_real_device_for_user_space_passes(tmp_path: Path) -> None:
    """Bound to vfio-pci and not in use is right."""
    machine = FakePci(tmp_path)
    place = machine.place(FIRST)
    (place / "driver").unlink()
    (place / "driver").symlink_to(machine.driver("vfio-pci"))
    nvme_device.require_bound(FIRST, machine.root)


@pytest.mark.parametrize(("program", "named"), [("nvmf_tgt", "nvmf"), ("vhost", "vhost")])
def test_what_a_killed_application_leaves(program: str, named: str) -> None:
    """As seen of v25.05: the trace is named after the application, the folder by SPDK's prefix."""
    left = spdk_host.left_behind(f"/opt/spdk/build/bin/{program}", 7)
    assert left == (f"/dev/shm/{named}_trace.pid7", "/run/dpdk/spdk_pid7")


def test_many_endpoints_of_each_kind() -> None:
    """24 exports are 24 subsystems with a listener each; a real device's namespace is its bdev."""
    real = {"kind": "bdev_nvme", "bdf": FIRST, "nsid": 2}
    backends = [real] + [{"kind": "bdev_null", "size_mib": 1}] * 23
    exports = [{"name": f"d{n}", "backend": backend} for n, backend in enumerate(backends)]
    sockets = {f"d{n}": f"/run/d{n}/cntrl" for n in range(24)}
    spec = {"kind": "spdk-nvmf-tgt", "cpus": "2-5", "exports": exports}
    items = asked_items(spdk_target.configuration(spec, sockets))
    assert [item.key[1] for item in items if item.kind == "listener"] == [
        f"/run/d{n}" for n in range(24)
    ]
    calls = [spdk_live.add_call(item) for item in items]
    assert (
        "bdev_nvme_attach_controller",
        {"name": "bdev0", "trtype": "PCIe", "traddr": FIRST},
    ) in [call for call in calls if call[0].startswith("bdev_nvme")]
    (first, *_) = [params for method, params in calls if method == "nvmf_subsystem_add_ns"]
    assert first["namespace"] == {"bdev_name": "bdev0n2"}


def test_vhost_controllers_are_spread_over_the_cores() -> None:
    """Each controller is polled on one core, in turn; with one core SPDK has no choice."""
    exports = [{"name": f"d{n}", "backend": {"kind": "bdev_null", "size_mib": 1}} for n in range(3)]
    for cpus, masks in (("2-3", ["0x4", "0x8", "0x4"]), ("2", [None] * 3), (None, [None] * 3)):
        spec = {"kind": "spdk-vhost", "cpus": cpus, "exports": exports}
        made = spdk_target.configuration(spec, {})["vhost_controllers"]
        assert [one["cpumask"] for one in made] == masks


def test_one_who_sleeps_is_told_of_each_doorbell() -> None:
    """In interrupt mode QEMU must not write doorbells into mapped memory, which wakes nobody."""
    spec = {"kind": "spdk-nvmf-tgt", "exports": []}
    for more, options in (({}, {}), ({"interrupt_mode": True}, {"disable_mappable_bar0": True})):
        (transport,) = asked_items(spdk_target.configuration({**spec, **more}, {}))
        method, params = spdk_live.add_call(transport)
        assert (method, params) == ("nvmf_create_transport", {"trtype": "VFIOUSER", **options})


def test_plain_memory_is_asked_for_by_name() -> None:
    """hugepages: false is SPDK's --no-huge; without a word hugepages are taken."""
    spec = {"exports": []}
    assert spdk_target._memory_arguments(spec) == ["-s", "512"]
    assert spdk_target._memory_arguments({**spec, "hugepages": False}) == ["--no-huge", "-s", "512"]
