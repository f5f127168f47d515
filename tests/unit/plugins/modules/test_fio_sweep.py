# SPDX-License-Identifier: GPL-3.0-or-later
"""The module fio_sweep: a sweep in one call, continued by the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from module_runs import run_module
from run_fakes import fake_fio

from ansible_collections.nvmelab.bench.plugins.modules import fio_sweep

POINTS = [
    {"id": "one", "fio": {"rw": "randread", "iodepth": 8}},
    {"id": "two", "fio": {"rw": "randread", "iodepth": 8}},
]


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """Two points with a fio that works."""
    fio = fake_fio(tmp_path)
    return {"directory": str(tmp_path / "sweep"), "points": POINTS, "fio_path": fio}


def test_sweep_leaves_a_directory_and_rows(params: dict[str, Any]) -> None:
    """Every point's file is there, each good one has rows."""
    answer = run_module(fio_sweep, **params)
    assert answer["changed"]
    assert answer["run"]["state"] == "complete"
    assert [row["point"] for row in answer["rows"]] == ["one", "one", "two", "two"]
    assert Path(params["directory"], "points", "one.fio.json").is_file()


def test_second_call_measures_nothing(params: dict[str, Any]) -> None:
    """The same rows, no change."""
    first = run_module(fio_sweep, **params)
    again = run_module(fio_sweep, **params)
    assert (again["changed"], again["rows"]) == (False, first["rows"])


def test_failed_point_fails_the_task_and_is_tried_again(
    params: dict[str, Any], tmp_path: Path
) -> None:
    """The other point is measured all the same; later only the failed one is."""
    fake_fio(tmp_path, "case $* in *host-one*) echo 'fio: broke' >&2; exit 1;; esac")
    answer = run_module(fio_sweep, **params)
    assert answer["failed"]
    assert "one: fio ended with exit code 1: fio: broke" in answer["msg"]
    assert {row["point"] for row in answer["rows"]} == {"two"}
    fake_fio(tmp_path)
    assert run_module(fio_sweep, **params)["run"]["state"] == "complete"


def test_other_points_need_another_directory(params: dict[str, Any]) -> None:
    """Two sweeps in one directory would be one lie."""
    run_module(fio_sweep, **params)
    answer = run_module(fio_sweep, **{**params, "points": POINTS[:1]})
    assert "holds another plan" in answer["msg"]


def test_check_mode_writes_nothing(params: dict[str, Any]) -> None:
    """It says what would be measured."""
    answer = run_module(fio_sweep, **params, _ansible_check_mode=True)
    assert answer["changed"]
    assert [(one["before"], one["after"]) for one in answer["diff"]] == [("", "one\ntwo\n")]
    assert not Path(params["directory"]).exists()


def test_device_is_not_written_to_unasked(params: dict[str, Any]) -> None:
    """Refused before anything is made, with the way out."""
    point = {"id": "one", "filename": "/dev/nvmelab-test", "fio": {"rw": "randwrite"}}
    answer = run_module(fio_sweep, **{**params, "points": [point]})
    assert "name it in disposable_devices" in answer["msg"]
    assert not Path(params["directory"]).exists()
