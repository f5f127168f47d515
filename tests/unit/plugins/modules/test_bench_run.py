# SPDX-License-Identifier: GPL-3.0-or-later
"""The module bench_run: starting, asking after and stopping real executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from module_runs import run_module
from run_fakes import fake_fio, plan, point, wait_until

from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory
from ansible_collections.nvmelab.bench.plugins.modules import bench_run

Call = Callable[..., dict[str, Any]]
RUN = "run-1"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Call]:
    """Start a run of two points whose fio does this first; stopped in the end."""

    def call(then: str = "", **more: object) -> dict[str, Any]:
        capabilities = {"fio": {"path": fake_fio(tmp_path, then)}}
        whole = plan(point(1), point(2), run_id=RUN)
        root = str(tmp_path)
        return run_module(bench_run, plan=whole, capabilities=capabilities, root=root, **more)

    yield call
    run_module(bench_run, state="stopped", run_id=RUN, root=str(tmp_path))


def ended(tmp_path: Path) -> RunDirectory:
    """The run, after its end."""
    directory = RunDirectory.of(tmp_path, RUN)
    wait_until(lambda: not directory.is_live())
    return directory


def test_module_ends_while_the_run_goes_on(start: Call, tmp_path: Path) -> None:
    """The answer names directory and supervisor; the executor holds none of the module's pipes."""
    answer = start("sleep 60")
    assert answer["changed"]
    assert answer["run_directory"] == str(tmp_path / "runs" / RUN)
    assert Path(f"/proc/{answer['pid']}").is_dir()
    assert RunDirectory.of(tmp_path, RUN).is_live()


def test_result_of_a_complete_run(start: Call, tmp_path: Path) -> None:
    """Essentials, rows as a fact, no failure; started again there is nothing to do."""
    start()
    ended(tmp_path)
    answer = run_module(bench_run, state="result", run_id=RUN, root=str(tmp_path))
    assert answer["run"]["state"] == "complete"
    assert {row["point"] for row in answer["ansible_facts"]["nvmelab_rows"]} == {"0001", "0002"}
    assert answer["failure"] is None
    again = start()
    assert (again["changed"], again["pid"]) == (False, None)


def test_result_of_a_failed_run_names_the_cause(start: Call, tmp_path: Path) -> None:
    """The text that the task fails with: state, cause, points, logs."""
    start("echo 'fio: broke' >&2; exit 1")
    ended(tmp_path)
    failure = run_module(bench_run, state="result", run_id=RUN, root=str(tmp_path))["failure"]
    for part in ("run-1: failed", "fio: broke", "failed points: 0001, 0002", "logs: "):
        assert part in failure


def test_stop_is_for_runs_that_are_there(start: Call, tmp_path: Path) -> None:
    """A run that never was is no error; one that lives is stopped, and only once."""
    stop = {"state": "stopped", "run_id": RUN, "root": str(tmp_path)}
    assert run_module(bench_run, **stop)["changed"] is False
    start("sleep 60")
    assert run_module(bench_run, **stop, _ansible_check_mode=True)["changed"]
    assert RunDirectory.of(tmp_path, RUN).is_live()
    assert run_module(bench_run, **stop)["changed"]
    assert not RunDirectory.of(tmp_path, RUN).is_live()
    assert run_module(bench_run, **stop)["changed"] is False


def test_refused_start_leaves_no_run_behind(start: Call, tmp_path: Path) -> None:
    """While one run lives another is refused, and is not found later as an interrupted one."""
    start("sleep 60")
    other = plan(point(1), run_id="run-2")
    answer = run_module(bench_run, plan=other, capabilities={}, root=str(tmp_path))
    assert "run-1 is being executed here" in answer["msg"]
    assert not (tmp_path / "runs" / "run-2").exists()


def test_check_mode_starts_nothing(start: Call, tmp_path: Path) -> None:
    """It says that a run would be made, and makes no directory."""
    answer = start(_ansible_check_mode=True)
    assert (answer["changed"], answer["pid"]) == (True, None)
    assert not (tmp_path / "runs").exists()


def test_plan_without_points_is_refused(tmp_path: Path) -> None:
    """Nothing would be measured: an error before anything is written."""
    answer = run_module(
        bench_run, plan={**plan(), "points": []}, capabilities={}, root=str(tmp_path)
    )
    assert "plan: has no points" in answer["msg"]
    assert not (tmp_path / "runs").exists()


def test_unknown_run_has_no_result(tmp_path: Path) -> None:
    """The message names the directory that was looked for."""
    answer = run_module(bench_run, state="result", run_id="nowhere", root=str(tmp_path))
    assert f"{tmp_path}/runs/nowhere: no such run on this host" in answer["msg"]


def test_host_state_is_proven(start: Call, tmp_path: Path) -> None:
    """With tuning, the manifest holds what was asked and found, and each point what moved."""
    asked = {"cpupower": {"governor": None}, "kernel_cmdline": [], "hugepages": []}
    start(host_state={"tuning": "audit", "asked": asked})
    directory = ended(tmp_path)
    manifest = directory.manifest() or {}
    assert (manifest["tuning"], manifest["host_state"]["asked"]) == ("audit", asked)
    assert manifest["host_state"]["after"]["rows"]
    assert (directory.record("0001") or {})["movement"] is not None


def test_tuning_is_off_by_yaml_too(start: Call, tmp_path: Path) -> None:
    """YAML reads `off` as a boolean: it is what was meant."""
    start(host_state={"tuning": False})
    manifest = ended(tmp_path).manifest() or {}
    assert (manifest["tuning"], manifest["host_state"]) == ("off", None)


def test_unknown_setting_is_refused_before_the_run(start: Call, tmp_path: Path) -> None:
    """It would look as if it had been fulfilled; nothing is started."""
    answer = start(host_state={"tuning": "audit", "asked": {"cpupower": {"governer": "x"}}})
    assert "did you mean 'governor'" in answer["msg"]
    assert not (tmp_path / "runs").exists()
