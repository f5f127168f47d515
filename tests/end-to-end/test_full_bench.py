# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job as a user types it, on this machine, in a real guest."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import duckdb
from bench_lab import Lab


def _installed_packages() -> str:
    return subprocess.run(["dpkg-query", "-W"], capture_output=True, text=True, check=True).stdout


def _files_outside_runs(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "runs" and path.suffix != ".raw"
    }


def test_run_is_complete_and_its_points_are_real(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """Every planned point has fio's own output with I/O in it, and the manifest agrees."""
    run: Path = tiny_run["directory"]
    manifest = lab.manifest(run)
    plan = json.loads((run / "plan.json").read_text("utf-8"))
    assert manifest["state"] == "complete"
    assert manifest["points_done"] == len(plan["points"]) > 0
    assert {point["runs_on"] for point in plan["points"]} == {"guest", "host"}
    for point in plan["points"]:
        fio = json.loads((run / "points" / f"{point['id']}.fio.json").read_text("utf-8"))
        assert fio["jobs"][0]["read"]["total_ios"] > 0, point["id"]
        assert fio["jobs"][0]["error"] == 0


def test_commands_are_recorded(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """The record holds the QEMU command and each point's fio command, to repeat them by hand."""
    run: Path = tiny_run["directory"]
    commands = json.dumps(lab.manifest(run)["commands"])
    assert "qemu-system" in commands
    for path in sorted((run / "points").glob("[0-9]*.json")):
        if not path.name.endswith(".fio.json"):
            assert json.loads(path.read_text("utf-8"))["argv"][0].endswith("fio")


def test_accelerator_is_said_where_numbers_are(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """A run under TCG is tainted with that reason in record, terminal and report."""
    manifest = lab.manifest(tiny_run["directory"])
    name = manifest["capabilities"]["accelerator"]["name"]
    codes = [reason["code"] for reason in manifest["verdict"]["reasons"]]
    assert (name == "tcg") == ("tcg" in codes)
    if name == "tcg":
        assert "TCG" in tiny_run["output"]
        assert "TCG" in tiny_run["report"].read_text("utf-8")


def test_store_is_read_in_place_by_duckdb(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """The collected rows are Parquet, one a point and direction, with the same IOPS as fio's."""
    run: Path = tiny_run["directory"]
    place = f"{lab.store}/runs/{run.name}/*/rows.parquet"
    rows = duckdb.read_parquet(place).select("point_id, direction, iops").fetchall()
    assert len(rows) == lab.manifest(run)["points_done"]
    for point_id, direction, iops in rows:
        fio = json.loads((run / "points" / f"{point_id}.fio.json").read_text("utf-8"))
        assert abs(fio["jobs"][0][direction]["iops"] - iops) <= 1e-6 * iops


def test_second_run_changes_nothing_but_the_results(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """Packages, images, keys stay as they are; the recap's changes are measuring and showing."""
    packages, files = _installed_packages(), _files_outside_runs(lab.root)
    before = set(lab.runs())
    done = lab.run(
        lab.playbook(
            "full-bench", "-e", "nvmelab_experiment=tiny", "-e", "nvmelab_report=/dev/null"
        )
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert len(set(lab.runs()) - before) == 1
    assert _installed_packages() == packages
    assert _files_outside_runs(lab.root) == files
    changed = re.findall(r"TASK \[([^\]]*)\] \**\n(?:[^\n]*\n)*?changed: ", done.stdout)
    assert not [name for name in changed if "provide" in name.lower() or "install" in name.lower()]


def test_collect_twice_changes_nothing(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """`python -m nvmelab collect` finds nothing new after full-bench has collected."""
    tree = {p: p.stat().st_mtime_ns for p in sorted((lab.store / "runs").rglob("*"))}
    done = lab.run(
        lab.nvmelab("collect", "-i", "inventories/lab", "-e", f"nvmelab_root={lab.root}")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing new" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in sorted((lab.store / "runs").rglob("*"))} == tree


def test_show_and_list_answer(lab: Lab, tiny_run: dict[str, Any]) -> None:
    """`list` names the run, `show latest` prints IOPS, a query selects by JMESPath."""
    run = tiny_run["directory"].name
    assert run in lab.run(lab.nvmelab("list")).stdout
    assert "IOPS" in lab.run(lab.nvmelab("show", run)).stdout
    queried = lab.run(lab.nvmelab("list", "--query", "[].run_id", "--format", "json"))
    assert run in json.loads(queried.stdout)
