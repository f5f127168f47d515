# SPDX-License-Identifier: GPL-3.0-or-later
"""A CPU layout in a real run: what the kernel says of the threads is what the plan says."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list

PINNED = "tests/end-to-end/experiments/pinned.yml"
# Five CPUs with cores of their own would be needed: on a smaller machine roles share.
SHARING = {"overcommit": True, "housekeeping_cores": 1}


def allowed_cpus(run: Path) -> dict[tuple[str, str], set[str]]:
    """``{(process, thread): CPUs that the kernel lets it run on}`` of the run's processes."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in (run / "processes").glob("*.json"):
        try:
            process = json.loads(record.read_text("utf-8"))
            for task in Path(f"/proc/{process['pid']}/task").iterdir():
                status = (task / "status").read_text("utf-8")
                fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
                found[process["name"], fields["Name"]].add(fields["Cpus_allowed_list"])
        except OSError:
            continue  # it ended while we looked
    return found


def watch(lab: Lab, process: subprocess.Popen[str]) -> tuple[Path, dict[tuple[str, str], set[str]]]:
    """The run that this play leaves, and where its threads could run once points were measured."""
    before = set(lab.runs())
    seen: dict[tuple[str, str], set[str]] = {}
    while process.poll() is None:
        for run in set(lab.runs()) - before:
            if list((run / "points").glob("*.fio.json")):  # so every thread has been pinned
                seen.update(allowed_cpus(run))
        time.sleep(0.1)
    (run,) = set(lab.runs()) - before
    return run, seen


def test_pinning_reaches_the_threads(lab: Lab, tiny_run: dict[str, Any], tmp_path: Path) -> None:
    """vCPUs, IOThread, QEMU's main loop and target run where the plan says; a taint says why."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one CPU: everything runs on it, pinned or not")
    log = tmp_path / "out"
    process = lab.start(
        lab.playbook("full-bench", "-e", f"nvmelab_experiment={PINNED}",
                     "-e", json.dumps({"nvmelab_cpu_layout": SHARING}),
                     "-e", f"nvmelab_report={tmp_path / 'report.html'}"), log,
    )  # fmt: skip
    run, seen = watch(lab, process)
    assert process.returncode == 0, log.read_text("utf-8")[-4000:]
    plan = json.loads((run / "plan.json").read_text("utf-8"))
    guest = plan["environments"]["guest-1"]["guest"]
    (target,) = plan["environments"]["guest-1"]["targets"]
    vcpus = parse_cpu_list(guest["cpus"])
    named = {
        thread: cpus
        for (process_name, thread), cpus in seen.items()
        if process_name == guest["name"]
    }
    found = {thread.partition("/")[0]: cpus for thread, cpus in named.items()}
    assert found["CPU 0"] == {str(vcpus[0])}
    assert found["CPU 1"] == {str(vcpus[1])}
    assert found["IO blk-io0"] == {guest["iothread_cpus"]}
    assert found["qemu-system-x86"] == {guest["emulator_cpus"]}
    on_target = [cpus for (process_name, _), cpus in seen.items() if process_name == target["name"]]
    assert on_target
    assert all(cpus == {target["cpus"]} for cpus in on_target)
    manifest = lab.manifest(run)
    assert manifest["cpu_layout"] == plan["cpu_layout"]
    codes = [reason["code"] for reason in manifest["verdict"]["reasons"]]
    layout = manifest["cpu_layout"]["layout"]
    assert ("cpu_overcommit" in codes) == (layout["verdict"]["state"] == "tainted")


def test_too_few_cpus_are_refused_before_anything_is_touched(lab: Lab, tmp_path: Path) -> None:
    """The refusal says how many more cores, with exit code 2; no run, no file appears."""
    root = tmp_path / "untouched"
    request = {"nvmelab_cpu_layout": {"guests": [{"iothreads": 4096}]}}
    variables = ("-e", f"nvmelab_root={root}", "-e", json.dumps(request))
    done = lab.run(lab.nvmelab("run", "-i", "inventories/lab", "--experiment", PINNED, *variables))
    assert "more cores" in done.stderr, done.stdout + done.stderr
    assert "overcommit: true" in done.stderr
    assert done.returncode == 2, done.stderr
    assert not root.exists()
