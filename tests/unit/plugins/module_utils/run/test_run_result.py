# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module hands back of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_fakes import GOOD_OUTPUT, fake_fio, job, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor
from ansible_collections.nvmelab.bench.plugins.module_utils.run import result as run_result
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run of which the second point has failed."""
    fio = fake_fio(tmp_path, "case $* in *stack-2*) exit 1;; esac")
    made = job(tmp_path, plan(point(1), point(2), run_id="run-1"), fio=fio)
    executor.execute(made)
    return made.directory


def test_rows_are_those_of_the_good_points(directory: RunDirectory) -> None:
    """Fio's numbers beside the plan's columns, without histograms."""
    found = run_result.summary(directory)
    row, other = found["rows"]
    fio = json.loads(GOOD_OUTPUT.read_text())["jobs"][0]["read"]
    assert (row["point"], row["stack"], row["direction"]) == ("0001", "stack-1", "read")
    assert (other["point"], other["direction"]) == ("0001", "write")
    assert row["iops"] == fio["iops"]
    assert "bins" not in row
    assert found["rows_left_out"] == 0
    assert found["run"]["points_done"] == 1


def test_too_many_rows_become_a_count(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ansible-runner would hand on nothing at all, without a word."""
    monkeypatch.setattr(run_result, "ROWS_CHARACTERS_MAX", 100)
    found = run_result.summary(directory)
    assert (found["rows"], found["rows_left_out"]) == ([], 2)


def test_failure_names_points_cause_and_logs(directory: RunDirectory) -> None:
    """One line that a person can act on."""
    text = run_result.failure(directory)
    cause = (directory.manifest() or {})["points_failed"][0]["reason"]
    assert text == (
        "run run-1: partial: 1 of 2 points failed, 1 are good; failed points: 0002: "
        f"{cause}; logs: {directory.logs}"
    )


def test_every_cause_of_a_failure_is_told_once(directory: RunDirectory) -> None:
    """Four causes at most, each with its points; where to read what was odd beside them."""
    causes = ["dead", "mute", "dead", *("not run: dead",) * 13, "not run: a", "b", "c", "d"]
    failed = [{"id": f"{n:04}", "reason": cause} for n, cause in enumerate(causes, 1)]
    content = {**(directory.manifest() or {}), "points_failed": failed, "remarks": ["odd"]}
    directory.manifest_path.write_text(json.dumps(content))
    first, *others = run_result.failure(directory).partition("failed points: ")[2].split("; ")
    assert first.startswith("0001, 0003 (so 0004, 0005, ")
    assert first.endswith("0014, 0015 and 1 more not run): dead")
    assert others[0] == "0002: mute"
    assert others[1:4] == ["0017: not run: a", "0018: b", "and 2 more causes"]
    assert others[4] == f"1 remark in {directory.manifest_path}"
    assert run_result.summary(directory)["run"]["remarks"] == ["odd"]


def test_failure_without_a_manifest_names_the_log(tmp_path: Path) -> None:
    """The executor could not even begin."""
    directory = RunDirectory.of(tmp_path, "run-1")
    directory.create(plan(point(1), run_id="run-1"))
    assert str(directory.logs / "executor.log") in run_result.failure(directory)
