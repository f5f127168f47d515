# SPDX-License-Identifier: GPL-3.0-or-later
"""One play at a time changes a machine."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from ansible.module_utils.testing import patch_module_args
from fake_sysfs import FakeHost
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.host import machine_lock
from ansible_collections.nvmelab.bench.plugins.modules import cpupower, host_state, hugepages

PAGES = "hugepages/hugepages-2048kB"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A machine with a governor, and hugepages."""
    made = FakeHost(tmp_path).frequency("acpi-cpufreq")
    for folder in ("sys/kernel/mm", "sys/devices/system/node/node0"):
        for name in ("nr", "free", "surplus", "resv"):
            made.put(f"{folder}/{PAGES}/{name}_hugepages", "0")
    made.put("proc/meminfo", "MemAvailable: 4194304 kB\nHugepagesize: 2048 kB")
    made.put("proc/self/mountinfo", "")
    return made


@contextmanager
def held(host: FakeHost) -> Iterator[None]:
    """As another play that changes the machine."""
    handle = os.open(host.root / "proc", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


def test_nobody_waits_for_ever(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is awaited is told; afterwards the machine is free, and no file tells of it."""
    monkeypatch.setattr(machine_lock, "_PATIENCE_S", 0.2)
    start = host.picture()
    message = "changing this host for 0.2 s.*wait for its end"
    with (
        held(host),
        pytest.raises(machine_lock.BusyMachineError, match=message),
        machine_lock.alone(host.root, check_mode=False),
    ):
        pass
    with machine_lock.alone(host.root, check_mode=False):
        assert host.picture() == start
    with machine_lock.alone(host.root, check_mode=False):
        pass


def test_check_mode_waits_for_nobody(host: FakeHost) -> None:
    """It changes nothing, and tells at once."""
    with held(host):
        wish = {"governor": "performance"}
        found = run_module(cpupower, root=str(host.root), settings=wish, _ansible_check_mode=True)
    assert found["changed"] is True


@pytest.mark.parametrize(
    ("module", "wishes"),
    [
        (cpupower, {"settings": {"governor": "performance"}}),
        (cpupower, {"state": "absent"}),
        (host_state, {"state": "restored"}),
        (hugepages, {"pages": [{"page_size": "2M", "count": 4}], "mounted": False}),
        (hugepages, {"state": "absent"}),
    ],
)
def test_who_changes_the_machine_is_alone(
    host: FakeHost,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: ModuleType,
    wishes: dict[str, object],
) -> None:
    """It fails, and touches nothing, as long as another one is at it; and not any longer."""
    monkeypatch.setattr(machine_lock, "_PATIENCE_S", 0.0)
    start = host.picture()

    def run() -> dict[str, object]:
        with patch_module_args({"root": str(host.root), **wishes}), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(capsys.readouterr().out))

    with held(host):
        assert "another play that has been changing this host" in str(run()["msg"])
        assert host.picture() == start
    assert not run().get("failed")
