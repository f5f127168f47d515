# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a lab, done to a real run: a clear message, nothing lost, nothing left."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab, kill_session, wait_until

SLOW = "tests/end-to-end/experiments/slow.yml"


def _finished_points(run: Path) -> int:
    return len(list((run / "points").glob("*.fio.json")))


def _in_mid_sweep(lab: Lab, before: set[Path]) -> Path:
    """The new run's directory, once two of its points are on disk."""

    def two_points() -> Path | None:
        fresh = set(lab.runs()) - before
        return next((run for run in fresh if _finished_points(run) >= 2), None)

    run: Path = wait_until("two points of a new run", two_points)
    return run


def _qemu(run: Path) -> dict[str, Any]:
    for path in (run / "processes").glob("*.json"):
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if "qemu-system" in record["argv"][0]:
            return record
    pytest.fail(f"no QEMU among {list((run / 'processes').iterdir())}")


def _slow_run(lab: Lab, *more: str) -> list[str]:
    return lab.playbook("full-bench", "-e", f"nvmelab_experiment={SLOW}",
                        "-e", "nvmelab_report=/dev/null", *more)  # fmt: skip


def test_qemu_killed_in_mid_sweep(lab: Lab, tiny_run: dict[str, Any], tmp_path: Path) -> None:
    """The cause and the log are named, what was measured is collected, the exit code is not 0."""
    before, log = set(lab.runs()), tmp_path / "out"
    process = lab.start(_slow_run(lab), log)
    run = _in_mid_sweep(lab, before)
    os.kill(_qemu(run)["pid"], signal.SIGKILL)
    assert process.wait(300) != 0
    output = log.read_text("utf-8")
    assert re.search(r"signal 9|SIGKILL", output), output[-4000:]
    assert "qemu.log" in output
    assert lab.manifest(run)["state"] in ("partial", "complete")
    failed = {one["reason"].removeprefix("not run: ") for one in lab.manifest(run)["points_failed"]}
    (cause,) = failed  # one for all of them, in one line, with the log
    assert re.fullmatch(r"guest-[\w-]+: QEMU was killed by SIGKILL.*qemu\.log.*", cause), cause
    assert list(lab.store.glob(f"runs/{run.name}/*/manifest.json"))
    assert lab.processes() == []


def test_guest_panics_in_mid_sweep(lab: Lab, tiny_run: dict[str, Any], tmp_path: Path) -> None:
    """A panic is told as a panic, with the serial log's place."""
    before, log = set(lab.runs()), tmp_path / "out"
    process = lab.start(_slow_run(lab), log)
    run = _in_mid_sweep(lab, before)
    port = re.search(r"127\.0\.0\.1:(\d+)-:22", " ".join(_qemu(run)["argv"]))
    assert port
    subprocess.run(
        ["ssh", "-F", "none", "-p", port[1], "-i", str(lab.root / "keys/id_ed25519"),
         "-o", "HostKeyAlias=nvmelab-guest",
         "-o", f"UserKnownHostsFile={lab.root}/keys/known_hosts",
         "root@127.0.0.1", "echo c > /proc/sysrq-trigger"],
        timeout=60, check=False, capture_output=True,
    )  # fmt: skip
    assert process.wait(300) != 0
    output = log.read_text("utf-8")
    assert "panic" in output.lower(), output[-4000:]
    assert "serial.log" in output
    assert _finished_points(run) >= 2
    assert lab.processes() == []


def test_ctrl_c_then_collect_then_resume(
    lab: Lab, tiny_run: dict[str, Any], tmp_path: Path
) -> None:
    """Ctrl-C ends with 130 and stops all; collect gets the rest; the run can be finished later."""
    before, log = set(lab.runs()), tmp_path / "out"
    more = ["-e", f"nvmelab_root={lab.root}", "--report", str(tmp_path / "report.html")]
    process = lab.start(
        lab.nvmelab("run", "-i", "inventories/lab", "--experiment", SLOW, *more), log
    )
    run = _in_mid_sweep(lab, before)
    kill_session(process, signal.SIGINT)
    assert process.wait(120) == 130, log.read_text("utf-8")[-4000:]
    assert lab.processes() == []
    manifest = lab.manifest(run)
    assert manifest["state"] == "interrupted"
    done = manifest["points_done"]
    assert 2 <= done < manifest["points_planned"]
    kept = {p.name: p.stat().st_mtime_ns for p in (run / "points").glob("*.fio.json")}

    collected = lab.run(
        lab.nvmelab("collect", "-i", "inventories/lab", "-e", f"nvmelab_root={lab.root}")
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert (lab.store / "runs" / run.name).is_dir()

    resumed = lab.run(
        lab.nvmelab("run", "-i", "inventories/lab", "--experiment", SLOW,
                    "--run-id", run.name, *more)
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stdout[-4000:] + resumed.stderr[-2000:]
    assert lab.manifest(run)["state"] == "complete"
    times = {p.name: p.stat().st_mtime_ns for p in (run / "points").glob("*.fio.json")}
    assert {name: times[name] for name in kept} == kept, "a finished point was run again"


def test_ctrl_c_on_plain_ansible_playbook(
    lab: Lab, tiny_run: dict[str, Any], tmp_path: Path
) -> None:
    """Without our runner, too, an interrupted playbook leaves nothing running."""
    before, log = set(lab.runs()), tmp_path / "out"
    process = lab.start(_slow_run(lab, "-e", "nvmelab_lease_s=6"), log)
    run = _in_mid_sweep(lab, before)
    kill_session(process, signal.SIGINT)
    assert process.wait(60) != 0
    wait_until("everything to stop", lambda: not lab.processes(), 30)
    assert lab.manifest(run)["state"] == "interrupted"


def test_control_node_killed(lab: Lab, tiny_run: dict[str, Any], tmp_path: Path) -> None:
    """After SIGKILL of the control node the lease runs out; a later collect gets the points."""
    before, log = set(lab.runs()), tmp_path / "out"
    process = lab.start(_slow_run(lab, "-e", "nvmelab_lease_s=4"), log)
    run = _in_mid_sweep(lab, before)
    kill_session(process, signal.SIGKILL)
    process.wait(10)
    # ansible's workers are sessions of their own: they end by themselves when their parent is gone.
    wait_until("the lease to run out", lambda: lab.manifest(run)["state"] == "interrupted", 90)
    wait_until("everything to stop", lambda: not lab.processes(), 30)
    done = lab.run(
        lab.nvmelab("collect", "-i", "inventories/lab", "-e", f"nvmelab_root={lab.root}")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = lab.run(
        lab.nvmelab("list", "--query", f"[?run_id=='{run.name}'].state", "--format", "json")
    )
    assert json.loads(shown.stdout) == ["interrupted"]


@pytest.fixture
def small_root(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A lab root whose runs lie on a tmpfs of the size asked for; images and keys are the lab's."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    # A short path: below it stand unix sockets, whose paths may have 107 bytes.
    place = Path(tempfile.mkdtemp(prefix="nvl-"))
    (place / "runs").mkdir()
    for shared in ("images", "keys", "cache"):
        (place / shared).symlink_to(lab.root / shared)
    size = f"size={request.param}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", place / "runs"], check=True)
    yield place
    subprocess.run(["umount", place / "runs"], check=True)
    shutil.rmtree(place)


@pytest.mark.parametrize("small_root", ["192k", "8m"], indirect=True)
def test_no_space_at_the_start(lab: Lab, tiny_run: dict[str, Any], small_root: Path) -> None:
    """Too little room for the run directory, or for a guest, is told before a guest hangs."""
    done = lab.run(_slow_run(lab, "-e", f"nvmelab_root={small_root}"))
    assert done.returncode != 0
    assert "No space left on device" in done.stdout, done.stdout[-4000:]
    assert lab.processes() == []


@pytest.mark.parametrize("small_root", ["96m"], indirect=True)
def test_no_space_in_mid_sweep(
    lab: Lab, tiny_run: dict[str, Any], small_root: Path, tmp_path: Path
) -> None:
    """A disk that fills up ends the run by its name; the points before are whole and collected."""
    log, there = tmp_path / "out", replace(lab, root=small_root)
    process = lab.start(_slow_run(lab, "-e", f"nvmelab_root={small_root}"), log)
    run = _in_mid_sweep(there, set())
    filler = subprocess.run(
        ["dd", "if=/dev/zero", f"of={small_root}/runs/filler", "bs=1M"],
        capture_output=True,
        check=False,
    )
    assert b"No space left on device" in filler.stderr
    assert process.wait(300) != 0
    assert "No space left on device" in log.read_text("utf-8"), log.read_text("utf-8")[-4000:]
    for path in (run / "points").glob("*.fio.json"):
        assert json.loads(path.read_text("utf-8"))["jobs"]
    assert list(lab.store.glob(f"runs/{run.name}/*/manifest.json"))
    assert there.processes() == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("ioengine: libaio", "ioengin: libaio"), "ioengine"),
        (("model: nvme", "model: nvmee"), "nvme"),
        (("iodepth: [1, 4, 16]", "iodepth: []"), "iodepth"),
        (("server: qemu\n", "server: qemo\n"), "qemu"),
    ],
)
def test_bad_experiment_is_refused_before_anything_is_touched(
    lab: Lab, tmp_path: Path, edit: tuple[str, str], said: str
) -> None:
    """File, key and the nearest allowed name are told, with exit code 2; no run appears."""
    file = tmp_path / "mine.yml"
    file.write_text((lab.checkout / SLOW).read_text("utf-8").replace(*edit), encoding="utf-8")
    before = lab.runs()
    done = lab.run(lab.nvmelab("run", "-i", "inventories/lab", "--experiment", str(file)))
    assert done.returncode == 2, done.stdout + done.stderr
    assert str(file) in done.stderr
    assert said in done.stderr
    assert lab.runs() == before


def test_unknown_experiment_and_stack(lab: Lab) -> None:
    """Names that do not exist are refused with the nearest that do."""
    done = lab.run(lab.nvmelab("plan", "quik"))
    assert done.returncode == 2
    assert "quick" in done.stderr
    done = lab.run(lab.nvmelab("plan", "quick", "--stack", "virtio-blkk"))
    assert done.returncode == 2
    assert "virtio-blk" in done.stderr


def test_named_stack_that_cannot_run_is_a_failure(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """A stack the user asked for by name is not skipped: the host says why it cannot run it."""
    if "vfio-user-pci" in lab.manifest(tiny_run["directory"])["capabilities"]["qemu"]["devices"]:
        pytest.skip("this QEMU has vfio-user-pci: the stack may run here")
    done = lab.run(
        lab.nvmelab("run", "-i", "inventories/lab", "--experiment", "quick", "--stack",
                    "spdk-vfio-user", "-e", f"nvmelab_root={lab.root}")
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    line = done.stderr.splitlines()[-1]
    assert "spdk-vfio-user: " in line
    assert "has no device vfio-user-pci" in line
    assert "qemu_suite: " in line
    assert "nvmelab_builds" in line
