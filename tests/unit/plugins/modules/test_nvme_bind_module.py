# SPDX-License-Identifier: GPL-3.0-or-later
"""The module nvme_bind on a fake kernel: told, there, again, several at once, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from fake_pci import FIRST, NETWORK, SECOND, FakePci

from ansible_collections.nvmelab.bench.plugins.modules import nvme_bind

Run = Callable[..., dict[str, Any]]
RECORD = "var/lib/nvmelab/nvme_bind.json"
BOTH = [FIRST, SECOND]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePci:
    """Two NVMe devices that the kernel drives; the first has an override that somebody set."""
    machine = FakePci(tmp_path).install(monkeypatch)
    machine.put(f"sys/bus/pci/devices/{FIRST}/driver_override", "nvme")
    return machine


@pytest.fixture
def run(machine: FakePci, capsys: pytest.CaptureFixture[str]) -> Run:
    """The module in this process, for only here the kernel is a fake."""

    def call(*, check: bool = False, **params: object) -> dict[str, Any]:
        ansible = {"_ansible_check_mode": check, "_ansible_diff": True}
        with (
            patch_module_args({"root": str(machine.root), **params, **ansible}),
            pytest.raises(SystemExit) as ended,
        ):
            nvme_bind.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert ended.value.code == (1 if result.get("failed") else 0)
        return result

    return call


def test_check_then_bind_then_nothing_then_back(machine: FakePci, run: Run) -> None:
    """Check mode foretells and writes nothing; undo gives each its own override back."""
    start = machine.picture()
    foretold = run(check=True, devices=BOTH)
    assert (foretold["changed"], machine.writes) == (True, [])
    made = run(devices=BOTH)
    assert made["diff"] == foretold["diff"]
    assert made["diff"][0]["after"].splitlines()[0] == (
        f"{FIRST}: uio_pci_generic, driver_override uio_pci_generic"
    )
    assert [one["driver"] for one in made["devices"]] == ["uio_pci_generic"] * 2
    written = len(machine.writes)
    assert run(devices=BOTH)["changed"] is False
    assert len(machine.writes) == written
    assert run(check=True, state="absent")["changed"] is True
    back = run(state="absent")
    assert machine.picture() == start
    assert [one["block_devices"] for one in back["devices"]] == [["nvme0n1"], ["nvme1n1"]]
    assert not (machine.root / RECORD).exists()
    assert run(state="absent") == {
        "changed": False, "devices": [], "diff": [], "invocation": back["invocation"]
    }  # fmt: skip


def test_from_one_program_to_another_and_back(machine: FakePci, run: Run) -> None:
    """The record is of before the first change, whatever came between."""
    start = machine.picture()
    machine.group("1", FIRST)
    run(devices=[FIRST])
    run(devices=[FIRST], driver="vfio-pci")
    run(state="absent", devices=[FIRST])
    assert machine.picture() == start


def test_driver_nvme_is_the_way_back_too(machine: FakePci, run: Run) -> None:
    """With the override as it was, and nothing left on record."""
    start = machine.picture()
    run(devices=[FIRST])
    run(devices=[FIRST], driver="nvme")
    assert machine.picture() == start
    assert not (machine.root / RECORD).exists()


def test_all_are_looked_at_before_one_is_changed(machine: FakePci, run: Run) -> None:
    """The second is no NVMe device: the first is not touched, nothing is recorded."""
    for check in (True, False):
        failed = run(devices=[FIRST, NETWORK], check=check)
        assert failed["msg"].startswith(f"{NETWORK}: found a device of PCI class 0x020000")
    assert machine.writes == []
    assert not (machine.root / RECORD).exists()


def test_what_was_bound_is_given_back_when_a_later_one_fails(machine: FakePci, run: Run) -> None:
    """Each write of the whole call in turn: both are as before, no record stays."""
    start = machine.picture()
    for fail_at in range(6):
        machine.fail_at, machine.writes = {fail_at}, []
        assert "Input/output error" in run(devices=BOTH)["msg"]
        assert machine.picture() == start
        assert not (machine.root / RECORD).exists()
    machine.fail_at, machine.writes = {6}, []
    assert run(devices=BOTH)["changed"] is True


def test_what_cannot_be_given_back_stays_on_record(machine: FakePci, run: Run) -> None:
    """Neither driver takes the device; once nvme does again, undo is enough."""
    start = machine.picture()
    machine.refuses = {"uio_pci_generic", "nvme"}
    assert "could not be given nvme" in run(devices=[FIRST])["msg"]
    machine.refuses = set()
    assert run(state="absent")["changed"] is True
    assert machine.picture() == start


def test_vfio_without_iommu_is_undone_as_well(machine: FakePci, run: Run) -> None:
    """The kernel's switch goes back with the last device."""
    machine.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N")
    switch = machine.root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    run(devices=BOTH, driver="vfio-pci", unsafe_noiommu=True)
    assert switch.read_text() == "Y\n"
    run(state="absent", devices=[FIRST])
    assert switch.read_text() == "Y\n"
    run(state="absent", devices=[SECOND])
    assert switch.read_text() == "N\n"
    assert not (machine.root / RECORD).exists()


def test_a_reboot_and_an_unplugged_device_leave_nothing_to_undo(machine: FakePci, run: Run) -> None:
    """Records of another boot, and of a device that is gone, are dropped."""
    run(devices=[FIRST])
    machine.put("proc/sys/kernel/random/boot_id", "boot-2")
    assert run(state="absent")["changed"] is False
    run(devices=[SECOND])
    machine.place(SECOND).rename(machine.root / "gone")
    assert run(state="absent")["devices"] == []
    assert not (machine.root / RECORD).exists()


def test_a_record_that_cannot_be_read_is_named(machine: FakePci, run: Run) -> None:
    """With the file, before anything is written."""
    machine.put(RECORD, "{")
    assert f"{machine.root / RECORD}: found JSONDecodeError" in run(devices=[FIRST])["msg"]
    assert machine.writes == []


def test_no_device_is_no_wish(machine: FakePci, run: Run) -> None:
    """An empty list would silently do nothing."""
    assert machine.writes == []
    assert "devices: found none, wanted PCI addresses" in run()["msg"]
