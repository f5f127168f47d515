# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage target on a host that systemd runs: a real guest of the lab is that host."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab
from lab_fakes import guest_spec

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.host.capabilities import probe

PACKAGE = "ansible_collections/nvmelab/bench/plugins/module_utils"
# What a play on that host would do; it prints what there is to see of the unit.
ON_THE_HOST = f"""
import json, os, signal, subprocess, sys
from pathlib import Path
sys.path.insert(0, "/root/lab")
from {PACKAGE.replace("/", ".")} import processes
from {PACKAGE.replace("/", ".")}.target import storage_target

def unit(name):
    words = ["systemctl", "show", name, "-p", "ActiveState", "-p", "ControlGroup"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split())

def start(**more):
    export = {{"name": "d", "transport": "vfio-user",
               "backend": {{"kind": "bdev_null", "size_mib": 1}}}}
    spec = {{"name": "t", "kind": "spdk-nvmf-tgt", "cpus": None, "hugepages": False,
             "exports": [export], **more}}
    programs = {{"nvmf_tgt": "/root/lab/support/fake_nvmf_tgt.py"}}
    host = {{"spdk": programs}}
    return storage_target.start_target(spec, directory="/root/run", capabilities=host)

told = {{}}
target = start()
told["unit"] = target.unit
told["running"] = unit(target.unit)
told["group"] = Path("/proc/%d/cgroup" % target.process.pid).read_text().strip()
told["remark"] = target.stop()
told["stopped"] = unit(target.unit)["ActiveState"]
os.environ["FAKE_SPDK"] = "segfaults"
told["crash"] = start().stop()
os.environ["FAKE_SPDK"] = ""
target = start()
subprocess.run(["systemctl", "stop", target.unit], check=True)
told["reason"] = processes.exit_reason(target.process)
target.stop()
told["mere"] = start(unit=False).unit
processes.stop_recorded("/root/run/processes")
told["left"] = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend",
    "nvmelab-*.scope"], stdout=subprocess.PIPE, text=True, check=True).stdout
print(json.dumps(told))
"""


def _archive(checkout: Path) -> bytes:
    """Our code and the stand-in for nvmf_tgt, as a host gets them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(checkout / "plugins/module_utils", PACKAGE)
        archive.add(checkout / "tests/support", "support")
    return packed.getvalue()


@pytest.fixture(scope="module")
def told(
    lab: Lab, tiny_run: dict[str, Any], checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What was to be seen in the guest."""
    capabilities = probe(lab.root, wanted_accelerator="tcg")
    running = launch_guest(
        guest_spec(memory_mib=512, kernel_args=["init=/sbin/init"]),
        directory=tmp_path_factory.mktemp("unit") / "run",
        image=capabilities["guest_image"],
        qemu=capabilities["qemu"],
        accelerator="tcg",
        deadline_s=300,
    ).wait()
    try:
        unpack = running.ssh.argv("mkdir -p lab && tar -x -C lab && chmod +x lab/support/fake*")
        subprocess.run(unpack, input=_archive(checkout), check=True, timeout=120)
        done = subprocess.run(
            running.ssh.argv("python3 -"), input=ON_THE_HOST.encode(), capture_output=True,
            check=False, timeout=300,
        )  # fmt: skip
    finally:
        running.stop()
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_it_is_a_unit_of_its_own(told: dict[str, Any]) -> None:
    """It is known by name while it runs, and the very process is in its control group."""
    assert told["unit"] == "nvmelab-run-t.scope"
    assert told["running"]["ActiveState"] == "active"
    assert told["group"].endswith(told["running"]["ControlGroup"])
    assert told["running"]["ControlGroup"].endswith("/nvmelab-run-t.scope")


def test_it_is_stopped_cleanly(told: dict[str, Any]) -> None:
    """By us or by systemctl it ends by itself, and no unit is left, failed or not."""
    assert (told["remark"], told["stopped"]) == (None, "inactive")
    assert told["reason"] == "ended with exit status 0"
    assert told["left"] == ""


def test_its_crash_is_told(told: dict[str, Any]) -> None:
    """With the signal and the end of its log, as of a mere process."""
    assert "spdk-nvmf-tgt was killed by SIGSEGV when it was asked to end: " in told["crash"]
    assert "nvmf_subsystem_add_listener" in told["crash"]


def test_without_it_there_is_no_unit(told: dict[str, Any]) -> None:
    """Who asks for a mere process gets one."""
    assert told["mere"] is None
