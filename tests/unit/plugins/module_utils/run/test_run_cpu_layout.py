# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan's CPU layout in a run: recorded, obeyed by fio on the host, and tainting when shared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from run_fakes import fake_fio, job, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.guest.threads import process_cpus
from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor, verdict

SHARED = ("vCPUs of guest: 2 of 2 share CPUs", "IOThreads of guest: 1 of 1 share CPUs")


def layout(*reasons: str) -> dict[str, Any]:
    """A layout as a plan records it."""
    made = verdict.verdict(verdict.reason("cpu_overcommit", text) for text in reasons)
    return {"layout": {"verdict": made}, "picture": "H housekeeping: 0", "kernel_args": []}


def run(root: Path, *, fio: str, cpus: str | None = None, **more: Any) -> dict[str, Any]:
    """The manifest of a run of one point on the host."""
    whole = {**plan(point(1)), **more}
    whole["environments"]["host"]["cpus"] = cpus
    made = job(root, whole, fio=fio)
    executor.execute(made)
    manifest = made.directory.manifest()
    assert manifest is not None
    assert manifest["state"] == "complete"
    return manifest


def codes(manifest: dict[str, Any]) -> dict[str, str]:
    """The codes and texts of the run's verdict."""
    return {one["code"]: one["text"] for one in manifest["verdict"]["reasons"]}


def test_shared_cpus_taint_every_point(tmp_path: Path) -> None:
    """One reason a point, with all roles that share, and the layout in the manifest."""
    shared = layout(*SHARED)
    manifest = run(tmp_path / "root", fio=fake_fio(tmp_path), cpu_layout=shared)
    assert manifest["cpu_layout"] == shared
    text = f"too few CPUs for the layout: {'; '.join(SHARED)} (all 1 points)"
    assert codes(manifest)["cpu_overcommit"] == text


@pytest.mark.parametrize("found", [{}, {"cpu_layout": None}, {"cpu_layout": layout()}])
def test_cpus_of_their_own_do_not_taint(tmp_path: Path, found: dict[str, Any]) -> None:
    """Without a layout, as in a plan of an earlier version, or with one that had room."""
    manifest = run(tmp_path / "root", fio=fake_fio(tmp_path), **found)
    assert manifest["cpu_layout"] == found.get("cpu_layout")
    assert "cpu_overcommit" not in codes(manifest)


def test_fio_on_the_host_runs_on_its_cpus(tmp_path: Path) -> None:
    """The kernel's own word, from within fio; the executor itself is where it was."""
    before = os.sched_getaffinity(0)
    cpu, seen = max(before), tmp_path / "seen"
    fio = fake_fio(tmp_path, f"grep Cpus_allowed_list /proc/self/status > {seen}")
    run(tmp_path / "root", fio=fio, cpus=str(cpu))
    assert seen.read_text().split() == ["Cpus_allowed_list:", str(cpu)]
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("spec", "cpus"),
    [
        ({}, None),
        ({"cpus": "2-3"}, [2, 3]),
        ({"cpus": "2-3", "iothread_cpus": "5"}, [2, 3, 5]),
        ({"cpus": "2-3", "iothread_cpus": "5", "emulator_cpus": "0-1"}, [0, 1]),
        # vCPUs inherit what QEMU is started with: a lonely IOThread must not confine them.
        ({"cpus": None, "iothread_cpus": "5", "emulator_cpus": None}, None),
    ],
)
def test_where_qemu_is_started(spec: dict[str, Any], cpus: list[int] | None) -> None:
    """Its helper threads inherit that."""
    assert process_cpus(spec) == cpus
