# SPDX-License-Identifier: GPL-3.0-or-later
"""vfio-user from end to end: a real QEMU with a real guest, the device served by the tests' own.

SPDK cannot be had from the Debian archive; what stands in for its nvmf_tgt speaks its JSON-RPC
and serves the NVMe controller of nvme_controller.py. All else is what a lab runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab
from lab_fakes import program

EXPERIMENT = "tests/end-to-end/experiments/vfio-user.yml"
# Later than what the guest's kernel and udev read of a device on their own.
FAULTS = "vfio-errors=error:300,vfio-silent=silence:300,vfio-dies=die:300"


@pytest.fixture(scope="module")
def spdk(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program nvmf_tgt."""
    folder = tmp_path_factory.mktemp("spdk")
    support = checkout / "tests/support"
    text = f"import sys\nsys.path.insert(0, {str(support)!r})\nimport fake_nvmf_tgt\n"
    program(folder / "nvmf_tgt", f"{text}fake_nvmf_tgt.main()\n")
    return folder


@pytest.fixture(scope="module")
def run(lab: Lab, tiny_run: dict[str, Any], spdk: Path) -> dict[str, Any]:
    """One run of the experiment with a QEMU of a newer suite: output, directory, manifest."""
    before = set(lab.runs())
    argv = lab.playbook(
        "full-bench", "-e", f"nvmelab_experiment={EXPERIMENT}", "-e", "nvmelab_report=/dev/null",
        "-e", "qemu_suite=trixie-backports", "-e", f"capabilities_spdk_directory={spdk}",
    )  # fmt: skip
    done = lab.run(argv, FAKE_SPDK=FAULTS)
    made = set(lab.runs()) - before
    assert len(made) == 1, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    (directory,) = made
    manifest = lab.manifest(directory)
    reasons = {}
    for path in sorted((directory / "points").glob("*.json")):
        if path.suffixes == [".json"]:
            record = json.loads(path.read_text("utf-8"))
            reasons[f"{record['stack']} {record['repetition']}"] = record["reason"]
    return {"code": done.returncode, "output": done.stdout, "directory": directory,
            "manifest": manifest, "reasons": reasons}  # fmt: skip


def test_a_device_over_vfio_user_is_measured(run: dict[str, Any]) -> None:
    """The good stack's point is good: real I/O of a real guest, by fio's own account."""
    assert [run["reasons"][f"vfio-good {n}"] for n in (1, 2)] == [None, None], run["reasons"]
    done = [json.loads(path.read_text("utf-8")) for path in
            (run["directory"] / "points").glob("*.fio.json")]  # fmt: skip
    assert [one["jobs"][0]["read"]["total_ios"] > 100 for one in done] == [True, True]
    assert run["manifest"]["state"] == "partial"


def test_the_guest_had_a_qemu_of_the_newer_suite(lab: Lab, run: dict[str, Any]) -> None:
    """Role qemu's path is the one that was probed and used; the host's own stays the host's."""
    qemu = run["manifest"]["capabilities"]["qemu"]
    assert qemu["path"].startswith(f"{lab.root}/roots/qemu-")
    assert "vfio-user-pci" in qemu["devices"]


def test_the_target_took_no_hugepages(run: dict[str, Any]) -> None:
    """An experiment that says server_hugepages: false takes none of the host's."""
    commands = run["manifest"]["commands"]
    (argv,) = (value for name, value in commands.items() if name == "nvmf-tgt-vfio-good")
    assert "--no-huge" in argv
    assert argv[argv.index("-s") + 1] == str(512 + 3 * 16)


def test_guests_share_their_memory(run: dict[str, Any]) -> None:
    """A target reaches the guest's memory only where it is shared; nothing fails at once else."""
    guests = [value["qemu"] for value in run["manifest"]["commands"].values() if "qemu" in value]
    assert len(guests) == 1
    for argv in guests:
        (memory,) = (word for word in argv if word.startswith("memory-backend-"))
        assert "share=on" in memory


def test_a_target_that_dies_is_the_cause_in_one_line(run: dict[str, Any]) -> None:
    """Killed in mid-I/O: the point names target and signal, long before the guest gives up."""
    reason = run["reasons"]["vfio-dies 1"]
    assert "nvmf-tgt-vfio-dies: spdk-nvmf-tgt was killed by SIGKILL" in reason
    assert "\n" not in reason
    assert run["code"] != 0
    assert "6 of 8 points failed, 2 are good" in run["output"]


def test_errors_of_the_device_are_fios_error(run: dict[str, Any]) -> None:
    """A device that answers with errors fails its point with what fio reports."""
    assert "fio: io_u error on file /dev/nvme" in run["reasons"]["vfio-errors 1"]


def test_a_device_that_never_answers_ends_at_the_points_deadline(run: dict[str, Any]) -> None:
    """The point's own deadline ends it, and its guest, whose fio cannot be killed."""
    assert run["reasons"]["vfio-silent 2"].startswith("fio did not end within 5 s")


def test_nothing_is_left_behind(lab: Lab, run: dict[str, Any]) -> None:
    """No process, no socket."""
    assert lab.processes() == []
    assert [path for path in run["directory"].rglob("*") if path.is_socket()] == []
    assert not list((run["directory"] / "targets").glob("*"))
