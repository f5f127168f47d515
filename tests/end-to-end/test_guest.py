# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of the lab's own image, under the module_utils that the roles use."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab
from lab_fakes import device, guest_spec

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.boot import GuestError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.host.capabilities import probe


def test_a_real_guest_boots_finds_its_devices_and_names_its_panic(
    lab: Lab, tiny_run: dict[str, Any], tmp_path: Path
) -> None:
    """Debian under QEMU: each device at its address; a crash of the kernel is a named panic."""
    capabilities = probe(lab.root, wanted_accelerator="tcg")
    devices = [device("a", 16, "nvme"), device("b", 20, "virtio-blk", iothreads=1)]
    running = launch_guest(
        guest_spec(*devices, memory_mib=512),
        directory=tmp_path / "run",
        image=capabilities["guest_image"],
        qemu=capabilities["qemu"],
        accelerator="tcg",
        deadline_s=300,
    ).wait()
    try:
        ask = running.ssh.argv("lspci -Dmmn -s 10.0; lspci -Dmmn -s 14.0; cat /proc/cpuinfo")
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        assert f'{running.device_address("a")} "0108"' in said
        assert f'{running.device_address("b")} "0100"' in said
        assert said.count("processor") == 2
        running.check()
        crash = running.ssh.argv("echo c > /proc/sysrq-trigger")
        subprocess.run(crash, capture_output=True, timeout=60, check=False)
        processes.wait(running.process, deadline_s=30)
        with pytest.raises(GuestError, match=r"kernel panicked: .*sysrq triggered crash"):
            running.check()
        assert processes.exit_reason(running.process) == "ended with exit status 1"
    finally:
        running.stop()
