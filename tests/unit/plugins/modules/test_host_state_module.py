# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules host_state and host_audit, as Ansible runs them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import FakeHost
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import tuning
from ansible_collections.nvmelab.bench.plugins.modules import host_audit, host_state

LAB = "var/lib/nvmelab"
RUN = "20260101T000000Z-test-0001"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A machine of plain files: what is written is what is read."""
    made = FakeHost(tmp_path).frequency("acpi-cpufreq")
    made.put("proc/cmdline", "quiet")
    return made


def tune(host: FakeHost, run_id: str | None = RUN) -> None:
    """Set a governor, as module cpupower does it."""
    record_path = host.root / LAB / "host_state.json"
    tuning.tune(host.root, record_path, "cpupower", {"governor": "performance"}, run_id)


def state(host: FakeHost, **more: object) -> dict[str, Any]:
    """The module's result without what it was asked."""
    found = run_module(host_state, root=str(host.root), **more)
    return {key: value for key, value in found.items() if key != "invocation"}


def test_restored_host_equals_its_first_snapshot(host: FakeHost) -> None:
    """Snapshot, tune, restore, snapshot: the same, with no file left; and then nothing to do."""
    picture = host.picture()
    first = state(host)
    tune(host)
    assert state(host)["left_tuned"]["run_id"] == RUN
    found = state(host, state="restored", _ansible_diff=True)
    assert (found["changed"], found["restored"]) == (True, ["governor"])
    assert found["diff"][0]["before"] == "performance\n"
    assert found["diff"][0]["after"] == "ondemand\n"
    assert state(host) == first
    assert host.picture() == picture
    again = state(host, state="restored")
    assert (again["changed"], again["restored"], again["remarks"]) == (False, [], [])


def test_check_mode_tells_and_changes_nothing(host: FakeHost) -> None:
    """The same answer as the real one, and the host as it was."""
    tune(host)
    picture = host.picture()
    found = state(host, state="restored", _ansible_check_mode=True)
    assert (found["changed"], found["restored"]) == (True, ["governor"])
    assert host.picture() == picture


@pytest.mark.parametrize(("run_id", "changed"), [(RUN, True), (None, False)])
def test_only_what_a_run_left(host: FakeHost, run_id: str | None, changed: bool) -> None:  # noqa: FBT001
    """A user's own play is not undone unasked."""
    tune(host, run_id)
    assert state(host, state="restored", only_run=True)["changed"] is changed


def test_live_run_is_not_disturbed(host: FakeHost) -> None:
    """Refused with the run's name and how to stop it; nothing was put back."""
    tune(host)
    folder = host.root / LAB / "runs" / RUN
    folder.mkdir(parents=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    picture = host.picture()
    found = run_module(host_state, root=str(host.root), state="restored")
    assert found["failed"]
    assert f"run {RUN} is being executed on this host" in found["msg"]
    assert f"playbooks/stop.yml -e nvmelab_run_id={RUN}" in found["msg"]
    assert state(host)["live_run"] == RUN
    assert host.picture() == picture
    os.close(handle)


def test_broken_record_is_told_of(host: FakeHost) -> None:
    """Nobody knows what to put back: the file, what was found in it, and the next step."""
    host.put(f"{LAB}/host_state.json", "{")
    found = run_module(host_state, root=str(host.root), state="restored")
    assert "host_state.json: found" in found["msg"]
    assert "next: " in found["msg"]


def test_audit_of_a_host(host: FakeHost) -> None:
    """Rows, verdict, duration; the host is not touched."""
    picture = host.picture()
    asked = {"cpupower": {"governor": "performance", "boost": True}, "hugepages": []}
    found = run_module(host_audit, root=str(host.root), asked=asked)
    rows = {row["knob"]: row for row in found["rows"]}
    assert (rows["governor"]["state"], rows["boost"]["state"]) == ("differs", "ok")
    assert found["verdict"]["reasons"][0]["code"] == "host-state"
    assert found["duration_s"] > 0
    assert found["changed"] is False
    assert host.picture() == picture


def test_audit_refuses_what_there_is_not(host: FakeHost) -> None:
    """With the name that was perhaps meant."""
    found = run_module(host_audit, root=str(host.root), asked={"cpupower": {"bost": True}})
    assert "did you mean 'boost'" in found["msg"]
