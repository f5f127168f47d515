# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules guest, storage_target and capabilities_info: arguments in, state once, result out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.nvmelab.bench.plugins.module_utils.guest import state as guest_state
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_command import (
    GuestFiles,
    qemu_argv,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends
from ansible_collections.nvmelab.bench.plugins.modules import guest, storage_target
from nvmelab.experiment.model import Backend


def _run(module: str, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """Run a module as Ansible does, in a process of its own; return its result."""
    name = f"ansible_collections.nvmelab.bench.plugins.modules.{module}"
    code = (
        "import json, sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        f"from {name} import main\n"
        "with patch_module_args(json.load(sys.stdin)):\n    main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps({**arguments, "_ansible_check_mode": check}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


GUEST: dict[str, Any] = {
    "name": "g",
    "vcpus": 1,
    "memory_mib": 64,
    "hugepages": False,
    "kernel_args": [],
    "iommu": False,
    "cpus": None,
    "iothread_cpus": None,
    "devices": [],
}


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("guest", {"devices": []}),
        (
            "storage_target",
            {
                "kind": "qemu-storage-daemon",
                "exports": [
                    {
                        "name": "d",
                        "transport": "vhost-user",
                        "backend": {"kind": "null-co", "size_mib": 1},
                    }
                ],
            },
        ),
    ],
)
def test_check_mode_tells_and_touches_nothing(
    tmp_path: Path, module: str, arguments: dict[str, Any]
) -> None:
    """Starting would change, stopping what is not there would not; no file appears."""
    common = {"name": "x", "root": str(tmp_path / "lab")}
    started = _run(module, {**common, **arguments}, check=True)
    assert (started["changed"], started[module.rpartition("_")[2]]) == (True, None)
    stopped = _run(module, {**common, "state": "stopped"}, check=True)
    assert (stopped["changed"], stopped["diff"]) == (False, [])
    (shown,) = started["diff"]
    assert (shown["before"], shown["after"]) == ("stopped\n", "started\n")
    assert list(tmp_path.iterdir()) == []


def test_a_host_without_anything_fails_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No QEMU is one clear message, not a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = _run("guest", {"name": "x", "root": str(tmp_path / "lab")})
    assert result["failed"]
    assert result["msg"] == "x: no qemu here; run the role qemu first"


@pytest.mark.qemu
@pytest.mark.skipif(
    shutil.which("qemu-storage-daemon") is None, reason="qemu-storage-daemon is not installed"
)
def test_a_target_survives_its_module_and_is_found_again(tmp_path: Path) -> None:
    """Started twice is one process; stopped twice is no error; in between it runs by itself."""
    export = {"name": "d", "transport": "vhost-user", "backend": {"kind": "null-co", "size_mib": 1}}
    arguments = {
        "name": "x",
        "root": str(tmp_path / "lab"),
        "directory": str(tmp_path / "t"),
        "kind": "qemu-storage-daemon",
        "exports": [export],
    }
    first, second = (_run("storage_target", arguments) for _ in range(2))
    try:
        assert (first["changed"], second["changed"]) == (True, False)
        assert first["target"] == second["target"]
        os.kill(first["target"]["pid"], 0)
        other = _run("storage_target", {**arguments, "cpus": "0"})
        assert "already runs" in other["msg"]
        assert "another cpus; stop it first" in other["msg"]
    finally:
        stopped = [_run("storage_target", {**arguments, "state": "stopped"}) for _ in range(2)]
    assert [result["changed"] for result in stopped] == [True, False]
    # Gone, or a zombie that nobody has reaped yet: both have no command line.
    command = Path("/proc", str(first["target"]["pid"]), "cmdline")
    assert not command.exists() or not command.read_bytes()


def test_capabilities_are_told_without_a_change(tmp_path: Path) -> None:
    """A bare host answers; nothing there is null or refused, nothing counts as changed."""
    arguments = {"root": str(tmp_path / "lab"), "accelerator": "tcg", "nvme_devices": "ff:1f.7"}
    result = _run("capabilities_info", arguments)
    assert result["changed"] is False
    assert result["capabilities"]["guest_image"] is None
    assert result["capabilities"]["accelerator"]["name"] == "tcg"
    (device,) = result["capabilities"]["nvme_devices"]
    assert device["refusal"].startswith("0000:ff:1f.7: no such PCI device")


def test_devices_get_slots_in_order_unless_they_say_one() -> None:
    """A device without a slot is counted from 16, so that its address can be told before."""
    devices = [{"name": n, "model": "nvme", "slot": s} for n, s in (("a", None), ("b", 9))]
    devices.append({"name": "c", "model": "vhost-user-blk", "slot": None, "socket": "/s"})
    spec = guest_state.guest_spec({**GUEST, "devices": devices})
    assert [device["slot"] for device in spec["devices"]] == [16, 9, 18]
    assert [device["export"] for device in spec["devices"]] == [None, None, "c"]


def test_what_a_guest_is_given_reaches_its_qemu() -> None:
    """Every option that changes the machine is in the specification that QEMU is started by."""
    given = {**GUEST, "vcpus": 3, "memory_mib": 65, "kernel_args": ["nvme.poll_queues=2"]}
    spec = guest_state.guest_spec({**given, "iommu": True, "hugepages": True})
    files = GuestFiles("/disk", "/serial", "/qmp", "/kernel", kernel_cmdline="quiet")
    qemu = {"path": "qemu", "version": "11.1.3", "devices": {"pvpanic-pci": []}}
    argv = qemu_argv(spec, qemu=qemu, accelerator="tcg", files=files, ssh_port=2022)
    assert argv[argv.index("-append") + 1] == "quiet nvme.poll_queues=2"
    assert "intel-iommu" in argv
    assert argv[argv.index("-smp") + 1] == "3"
    assert argv[argv.index("-m") + 1] == "65M"
    assert any("hugetlb=on" in word for word in argv)


def test_what_a_device_lives_on_is_called_the_same_everywhere() -> None:
    """In an experiment, in both modules and their documentation."""
    kinds = typing.get_args(Backend.model_fields["kind"].annotation)
    known = [*backends.KINDS, *backends.BDEVS]
    assert sorted(kinds) == sorted([*known, "none"])
    for module, wanted in ((guest, backends.KINDS), (storage_target, known)):
        options = yaml.safe_load(module.DOCUMENTATION)["options"]
        devices = options.get("devices") or options["exports"]
        told = devices["suboptions"]["backend"]["suboptions"]["kind"]["choices"]
        assert sorted(told) == sorted(wanted)
        assert module.BACKEND["kind"]["choices"] == list(wanted)
