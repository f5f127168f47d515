# SPDX-License-Identifier: GPL-3.0-or-later
"""progress.json: what the control node is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_fakes import plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.run import progress
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

POINTS = [point(1, expected_s=10.0), point(2, expected_s=20.0), point(3, expected_s=30.0)]


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run of three points."""
    made = RunDirectory.of(tmp_path, "run-1")
    made.create(plan(*POINTS, run_id="run-1"))
    return made


def told(directory: RunDirectory) -> dict[str, Any]:
    """What stands in the file."""
    content: dict[str, Any] = json.loads(directory.progress_path.read_text())
    return content


def left_s(directory: RunDirectory) -> float:
    """How long the run is expected to take from the last word on."""
    return float(told(directory)["expected_end"]) - float(told(directory)["updated_at"])


def test_point_is_told_in_fios_words(directory: RunDirectory) -> None:
    """Which point, of which stack, with which parameters, of how many."""
    progress.Progress(directory, directory.plan(), POINTS).point(POINTS[0])
    found = told(directory)
    assert (found["state"], found["point"], found["points_total"]) == ("running", "0001", 3)
    assert found["current"] == {
        "stack": "stack-1",
        "workload": "randread",
        "repetition": 1,
        "fio": {"rw": "randread", "bs": "4k", "iodepth": 8},
    }


def test_expected_end_counts_what_is_left(directory: RunDirectory) -> None:
    """By hand: 60 s of fio, 3 guessed overheads, one boot; less when a point is done."""
    shown = progress.Progress(directory, directory.plan(), POINTS)
    shown.boots_left(1)
    shown.phase("booting")
    assert left_s(directory) == pytest.approx(60 + 3 * progress.OVERHEAD_S + progress.BOOT_S)
    shown.boots_left(0)
    shown.concluded({"id": "0003", "state": "failed"})
    shown.phase("measuring")
    assert left_s(directory) == pytest.approx(30 + 2 * progress.OVERHEAD_S)
    assert told(directory)["points_failed"] == 1


def test_points_done_before_are_counted(directory: RunDirectory) -> None:
    """A continued run does not begin at 0 of 3."""
    progress.Progress(directory, directory.plan(), POINTS[2:]).phase("starting")
    assert told(directory)["points_done"] == 2


def test_end_of_a_killed_run_is_corrected(directory: RunDirectory) -> None:
    """Who looks on must not wait for ever for an executor that is gone."""
    progress.Progress(directory, directory.plan(), POINTS).point(POINTS[0])
    progress.correct(directory, "interrupted", "killed")
    assert (told(directory)["state"], told(directory)["message"]) == ("interrupted", "killed")
    directory.progress_path.write_text("{torn")
    progress.correct(directory, "interrupted", "killed")  # nothing to correct: no error
