# SPDX-License-Identifier: GPL-3.0-or-later
"""The module run_archive, as collect.yml calls it."""

from __future__ import annotations

from pathlib import Path

from module_runs import run_module
from run_fakes import fake_fio, job, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor
from ansible_collections.nvmelab.bench.plugins.modules import run_archive


def test_pack_fetch_remove(tmp_path: Path) -> None:
    """Offered, then known, then removed: the second round changes nothing."""
    root = str(tmp_path)
    executor.execute(job(tmp_path, plan(point(1), run_id="run-1"), fio=fake_fio(tmp_path)))
    offered = run_module(run_archive, root=root)
    assert offered["changed"]
    (entry,) = offered["archives"]
    assert Path(entry["path"]).stat().st_size == entry["size_bytes"]
    assert run_module(run_archive, root=root, state="absent")["changed"]
    known = {"run-1": entry["finished_at"]}
    again = run_module(run_archive, root=root, known=known)
    assert (again["changed"], again["archives"]) == (False, [])
    assert not run_module(run_archive, root=root, state="absent")["changed"]


def test_host_without_runs(tmp_path: Path) -> None:
    """Nothing to offer is no error."""
    answer = run_module(run_archive, root=str(tmp_path / "none"))
    assert (answer["archives"], answer["running"], answer["skipped"]) == ([], [], [])
