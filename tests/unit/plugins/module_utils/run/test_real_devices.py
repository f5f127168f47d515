# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a real NVMe device of a fake kernel: one place has it at a time, all give it back."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from fake_pci import FIRST, SECOND, FakePci
from fake_spdk_host import FakeSpdkHost
from lab_fakes import program
from run_fakes import fake_fio, job, plan, point
from vm_less import OPTIONS, reasons, served, vm_less

from ansible_collections.nvmelab.bench.plugins.module_utils.pci.device import PciError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    daemon,
    environments,
    executor,
    leftovers,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import nvme_taking

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import Settings

CHECKOUT = Path(__file__).resolve().parents[5]
FIXTURES = CHECKOUT / "tests/fixtures/client"
REAL = {"kind": "bdev_nvme", "bdf": FIRST, "nsid": 1}
CLIENTS = {"bdevperf": "bdevperf-v25.05.txt", "spdk_nvme_perf": "spdk_nvme_perf-v25.05.txt"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePci:
    """Two NVMe devices that the kernel drives, and hugepages enough."""
    made = FakePci(tmp_path / "system", partitions=False).install(monkeypatch)
    monkeypatch.setattr(nvme_taking, "SYSTEM", made.root)
    FakeSpdkHost(tmp_path / "spdk-host").install(monkeypatch)
    return made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[executor.Job]:
    """Points on the bdev alone, through a target, on the bdev again; each with its own backend."""
    with tempfile.TemporaryDirectory(prefix="lab") as folder:  # a socket's path is short
        root = Path(folder)
        alone = {"client": "bdevperf", "client_cpus": "0", "device": "alone", "stack": "alone",
                 "fio": OPTIONS}  # fmt: skip
        whole = served(vm_less("vm-less", 2))
        points = [point(1, **alone), *whole["points"], point(3, **alone)]
        whole["points"] = points
        whole["environments"]["vm-less"] = whole["environments"].pop("host-vm-less")
        points[1]["environment"] = "vm-less"
        (target,) = whole["environments"]["vm-less"]["targets"]
        target["exports"][0]["backend"] = REAL
        whole["environments"]["host"] = plan(points[0])["environments"]["host"]
        files = whole["environments"]["host"]["host_files"]
        files.append({"name": "alone", "backend": REAL})
        seen = f"import os; s = open({str(tmp_path / 'seen')!r}, 'a')\n"
        seen += f"print(os.path.basename(os.readlink({str(_driver(tmp_path))!r})), file=s)\n"
        for name, printed in CLIENTS.items():
            code = f"{seen}print(open({str(FIXTURES / printed)!r}).read())\n"
            program(tmp_path / name, code)
        fake = f"import sys\nsys.path.insert(0, {str(CHECKOUT / 'tests/support')!r})\n"
        program(tmp_path / "nvmf_tgt", f"{fake}import fake_nvmf_tgt\nfake_nvmf_tgt.main()\n")
        given = job(root, whole, fio=fake_fio(tmp_path))
        programs = {name: str(tmp_path / name) for name in ("nvmf_tgt", *CLIENTS)}
        yield dataclasses.replace(given, capabilities={**given.capabilities, "spdk": programs})


def _driver(tmp_path: Path) -> Path:
    return tmp_path / f"system/sys/bus/pci/devices/{FIRST}/driver"


def test_one_place_has_the_device_at_a_time(
    machine: FakePci, made: executor.Job, tmp_path: Path
) -> None:
    """Each point finds it bound for programs; in between and afterwards the kernel has it."""
    start = machine.picture()
    assert executor.execute(made) == "complete"
    assert reasons(made.directory) == [None] * 3
    assert (tmp_path / "seen").read_text().split() == ["uio_pci_generic"] * 3
    binds = [text for path, text in machine.writes if path.endswith("drivers_probe")]
    assert binds == [FIRST] * 6  # there and back for each of the places, one after the other
    assert machine.picture() == start
    assert not (made.directory.path / nvme_taking.RECORD).exists()


def test_a_device_that_cannot_be_had_fails_its_points_by_the_cause(
    machine: FakePci, made: executor.Job
) -> None:
    """Mounted since the plan was made: nothing is touched, no target is left."""
    machine.put("proc/self/mountinfo", "36 35 259:0 / /data rw - xfs /dev/nvme0n1 rw")
    assert executor.execute(made) == "failed"
    cause = f"{FIRST}: /dev/nvme0n1 is mounted on /data: in use; its data would be lost"
    assert [str(reason).removeprefix("not run: ") for reason in reasons(made.directory)] == [
        cause, cause, cause,
    ]  # fmt: skip
    assert machine.writes == []


def test_what_a_killed_run_has_taken_is_given_back(machine: FakePci, made: executor.Job) -> None:
    """Whoever clears away finds it by the run directory; a second time there is nothing to do."""
    start = machine.picture()
    nvme_taking.take([FIRST, SECOND], made.directory.path)
    assert leftovers.clean(made.directory, "found later")
    assert machine.picture() == start
    assert not leftovers.clean(made.directory, "found later")


def test_what_could_not_be_given_back_is_tried_by_the_next(
    machine: FakePci, made: executor.Job
) -> None:
    """The run has ended, its device has not come back: cleaning again does it."""
    start = machine.picture()
    nvme_taking.take([FIRST], made.directory.path)
    machine.process(7, "dd", str(machine.place(FIRST) / "resource0"))
    with pytest.raises(PciError, match="resource0 is open in dd"):
        daemon.stop(made.directory)
    assert (made.directory.manifest() or {})["state"] == "interrupted"
    (machine.root / "proc/7/fd/3").unlink()
    assert leftovers.clean(made.directory, "found later")
    assert machine.picture() == start


@pytest.mark.parametrize(("has", "done"), [(FIRST, "stop"), (SECOND, "set_aside")])
def test_a_guest_is_stopped_for_whom_needs_its_device(
    monkeypatch: pytest.MonkeyPatch, has: str, done: str
) -> None:
    """Paused it would keep it; a guest on another device is only paused, as ever."""
    seen: list[tuple[str, str]] = []

    class Place:
        polls, boots_s = False, ()

        def __init__(self, name: str, *_: object) -> None:
            self.name = name

        def __getattr__(self, name: str) -> Callable[[], dict[str, object]]:
            return lambda: seen.append((self.name, name)) or {}

    monkeypatch.setattr(environments, "HostEnvironment", Place)
    monkeypatch.setattr(environments, "_guests", Place)
    guest = {"targets": [{"exports": [{"backend": {**REAL, "bdf": has}}]}], "host_files": []}
    specs = {
        "guest-1": {**guest, "guest": {"name": "guest-1"}},
        "host": {"targets": [], "guest": None, "host_files": [{"backend": REAL}]},
    }
    settings = cast("Settings", SimpleNamespace(say=lambda _: None))
    with environments.environments(specs, settings) as places:
        for name in specs:
            places.bring_up(name)
        assert seen[-3:] == [("guest-1", done), ("host", "start"), ("host", "commands")]
