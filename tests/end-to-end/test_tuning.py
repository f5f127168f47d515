# SPDX-License-Identifier: GPL-3.0-or-later
"""Tuning for a run, its exact undo, and what becomes of it when the play is killed in between."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_lab import wait_until
from tuned_lab import TunedLab, kill, tuned_lab

SHORT = "tests/testinfra/collect/experiment.yml"
LONG = "tests/end-to-end/experiments/host-only.yml"
GUEST = "tests/end-to-end/experiments/slow.yml"
PAGES = '{"nvmelab_host_state": {"hugepages": [{"page_size": "2M", "node": 0, "count": 4}]}}'
# What the load of this machine may add: the host's CPUs are shared with whatever else it does.
OF_THE_MACHINE = {"other-load", "steal", "cpu-pressure", "littles-law", "frequency-moved"}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for nspawn hosts")


@pytest.fixture(scope="module")
def lab(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TunedLab]:
    """The host of this module."""
    with tuned_lab(checkout, tmp_path_factory.mktemp("tuned")) as lab:
        yield lab


@pytest.fixture
def before(lab: TunedLab) -> dict[str, str]:
    """The host as it is at the beginning of a test, which is untuned."""
    assert not lab.record.exists()
    return lab.picture()


def _new_run(lab: TunedLab, known: set[Path]) -> dict[str, Any]:
    (run,) = lab.runs() - known
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text("utf-8"))
    return manifest


def _codes(manifest: dict[str, Any]) -> set[str]:
    return {reason["code"] for reason in manifest["verdict"]["reasons"]}


def _rows(manifest: dict[str, Any], when: str) -> dict[str, dict[str, Any]]:
    return {row["knob"]: row for row in manifest["host_state"][when]["rows"]}


def test_audit_changes_nothing_and_tells(lab: TunedLab, before: dict[str, str]) -> None:
    """The default mode leaves every file alone, and the verdict names what differs."""
    known = lab.runs()
    done = lab.run(lab.playbook("bench", "-e", f"nvmelab_experiment={SHORT}"))
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = _new_run(lab, known)
    assert manifest["tuning"] == "audit"
    assert _rows(manifest, "before")["governor"]["state"] == "differs"
    assert "host-state" in _codes(manifest)
    assert "governor powersave" in json.dumps(manifest["verdict"])
    assert lab.picture() == before
    assert not lab.record.exists()


def test_enforce_is_clean_and_undone(lab: TunedLab, before: dict[str, str]) -> None:
    """All that was asked is in force during the run, and the host is as it was after it."""
    known, first = lab.runs(), lab.module("host_state", state="snapshot")
    done = lab.run(lab.bench("enforce", SHORT, "-e", PAGES))
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = _new_run(lab, known)
    assert _codes(manifest) <= OF_THE_MACHINE, manifest["verdict"]
    for when in ("before", "after"):
        rows = _rows(manifest, when)
        assert rows["governor"]["effective"] == "performance"
        assert {row["state"] for row in rows.values()} <= {"ok", "recorded", "unavailable"}
        asked = ("governor", "boost", "irqbalance", "numa_balancing", "thp", "ksm", "hugepages")
        assert {rows[name]["state"] for name in asked} == {"ok"}
    assert "h1: restored " in done.stdout
    assert lab.picture() == before
    assert lab.module("host_state", state="snapshot")["snapshot"] == first["snapshot"]
    assert not lab.record.exists()


def _tuned_run(lab: TunedLab, log: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a long run that tunes, and wait for its first point; the play and the run."""
    known = lab.runs()
    process = lab.start(lab.bench("enforce", LONG), log)
    first = wait_until(
        "a point of the run",
        lambda: (
            [p for run in lab.runs() - known for p in run.glob("points/*.fio.json")]
            or process.poll() is not None
        ),
    )
    assert process.poll() is None, log.read_text("utf-8")
    return process, first[0].parents[1]


def _killed_run(lab: TunedLab, before: dict[str, str], log: Path) -> str:
    """Kill a play and all of its run in mid-sweep, tuned; the run's id."""
    process, run = _tuned_run(lab, log)
    kill(process)
    lab.kill_executor(run)
    tuned = lab.picture()
    assert {v for k, v in tuned.items() if k.endswith("scaling_governor")} == {"performance"}
    assert tuned["irqbalance"] == "inactive"
    assert json.loads(lab.record.read_text("utf-8"))["run_id"] == run.name
    return run.name


def test_a_failed_run_is_undone_too(lab: TunedLab, before: dict[str, str]) -> None:
    """A stack that this host cannot run fails the play after it was tuned; it is put back."""
    done = lab.run(lab.bench("enforce", GUEST, "-e", "nvmelab_stacks=virtio-blk"))
    assert done.returncode != 0
    assert "no qemu-system-x86_64 on the host" in done.stdout
    assert "h1: restored " in done.stdout
    assert lab.picture() == before
    assert not lab.record.exists()


def test_a_live_run_is_left_alone_and_stopping_it_puts_back(
    lab: TunedLab, before: dict[str, str], tmp_path: Path
) -> None:
    """Neither another run nor restore.yml touch a host that measures; stop.yml ends and undoes."""
    process, run = _tuned_run(lab, tmp_path / "log")
    tuned = lab.picture()
    for command in (lab.bench("enforce", SHORT), lab.playbook("restore")):
        done = lab.run(command)
        assert done.returncode != 0
        assert f"run {run.name} is being executed here" in " ".join(done.stdout.split())
    assert lab.picture() == tuned
    kill(process)
    done = lab.run(lab.playbook("stop", "-e", f"nvmelab_run_id={run.name}"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.picture() == before
    assert not lab.record.exists()


def test_next_run_puts_back_what_a_killed_one_left(
    lab: TunedLab, before: dict[str, str], tmp_path: Path
) -> None:
    """In mode off it is said, in mode audit it is said and put back before anything is measured."""
    run = _killed_run(lab, before, tmp_path / "log")
    tuned = lab.picture()
    done = lab.run(lab.bench("off", SHORT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"left tuned by run {run}" in " ".join(done.stdout.split())
    assert lab.picture() == tuned
    known = lab.runs()
    done = lab.run(lab.bench("audit", SHORT))
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert f"left tuned by run {run}; putting it back" in said
    assert "h1: restored " in said
    assert _rows(_new_run(lab, known), "before")["governor"]["effective"] == "powersave"
    assert lab.picture() == before
    assert not lab.record.exists()


def test_restore_puts_back_what_a_killed_run_left(
    lab: TunedLab, before: dict[str, str], tmp_path: Path
) -> None:
    """restore.yml does it too, check mode only tells, and a second time changes nothing."""
    _killed_run(lab, before, tmp_path / "log")
    tuned = lab.picture()
    told = lab.run(lab.playbook("restore", "--check", "--diff"))
    assert told.returncode == 0, told.stdout + told.stderr
    assert lab.picture() == tuned
    done = lab.run(lab.playbook("restore"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "h1: restored " in done.stdout
    assert lab.picture() == before
    assert not lab.record.exists()
    again = lab.run(lab.playbook("restore"))
    assert "changed=0" in again.stdout, again.stdout


def test_bad_input_is_refused_before_anything_is_touched(
    lab: TunedLab, before: dict[str, str]
) -> None:
    """A mode and a setting that do not exist are named with what is allowed, for each host."""
    runs = lab.runs()
    done = lab.run(lab.bench("enforced", SHORT))
    assert done.returncode != 0
    assert "h1: nvmelab_tuning: found 'enforced', wanted off, audit or enforce" in done.stdout
    wrong = '{"nvmelab_host_state": {"cpupower": {"governer": "performance"}}}'
    done = lab.run(lab.bench("enforce", SHORT, "-e", wrong))
    assert done.returncode != 0
    assert "nvmelab_host_state.cpupower: no setting 'governer'" in done.stdout
    assert "did you mean 'governor'?" in done.stdout
    assert lab.runs() == runs
    assert lab.picture() == before
