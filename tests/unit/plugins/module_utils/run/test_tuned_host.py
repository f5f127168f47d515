# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a host, and whether a run has left it tuned."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from fake_sysfs import BOOT_ID, CPU, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import tuning
from ansible_collections.nvmelab.bench.plugins.module_utils.run import tuned_host

LAB = "var/lib/nvmelab"
RUN = "20260101T000000Z-test-0001"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A machine that can be tuned."""
    made = FakeHost(tmp_path).frequency().install(monkeypatch)
    made.put("proc/cmdline", "quiet")
    return made


def tune(host: FakeHost, run_id: str | None) -> None:
    """Set a governor, as module cpupower does it."""
    record_path = host.root / LAB / "host_state.json"
    tuning.tune(host.root, record_path, "cpupower", {"governor": "performance"}, run_id)


def live(host: FakeHost, run_id: str) -> int:
    """Have a run that is being executed; what holds its lock."""
    folder = host.root / LAB / "runs" / run_id
    folder.mkdir(parents=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_snapshots_of_an_untouched_host_are_equal(host: FakeHost) -> None:
    """Also as JSON, for they are compared after they have travelled; a change is seen."""
    first = tuned_host.snapshot(host.root)
    assert json.loads(json.dumps(tuned_host.snapshot(host.root))) == first
    assert first["kernel_cmdline"] == {"running": ["quiet"], "configured": None}
    host.put(f"{CPU}/cpufreq/policy0/scaling_governor", "performance")
    assert tuned_host.snapshot(host.root) != first


def test_untuned_host(host: FakeHost) -> None:
    """No record, no run."""
    assert tuned_host.left_tuned(host.root / LAB, host.root) is None
    assert tuned_host.live_run(host.root / LAB) is None


def test_run_that_is_gone_has_left_it_tuned(host: FakeHost) -> None:
    """The record names it, and nobody holds its lock."""
    tune(host, RUN)
    found = tuned_host.left_tuned(host.root / LAB, host.root)
    assert found is not None
    assert (found["run_id"], found["is_live"], found["hugepages_run_id"]) == (RUN, False, None)
    assert found["tuned_at"].endswith("Z")


def test_run_that_goes_on_is_not_left(host: FakeHost) -> None:
    """Its lock is held: whoever wants to put back sees that it is live."""
    tune(host, RUN)
    handle = live(host, RUN)
    found = tuned_host.left_tuned(host.root / LAB, host.root)
    assert found is not None
    assert found["is_live"] is True
    assert tuned_host.live_run(host.root / LAB) == RUN
    os.close(handle)
    assert tuned_host.live_run(host.root / LAB) is None


def test_users_own_tuning_is_not_told_of(host: FakeHost) -> None:
    """Nobody has left it: it was wanted."""
    tune(host, None)
    assert tuned_host.left_tuned(host.root / LAB, host.root) is None


def test_boot_has_ended_it(host: FakeHost) -> None:
    """A record of another boot is no tuning any more."""
    tune(host, RUN)
    host.put(BOOT_ID, "boot-2")
    assert tuned_host.left_tuned(host.root / LAB, host.root) is None


def test_hugepages_alone_are_left_too(host: FakeHost) -> None:
    """A run that was killed between reserving pages and tuning."""
    content = {"schema_version": 1, "run_id": RUN, "boot_id": "boot-1", "before": [], "folders": []}
    host.put(f"{LAB}/hugepages.json", json.dumps(content))
    found = tuned_host.left_tuned(host.root / LAB, host.root)
    assert found == {
        "run_id": None,
        "tuned_at": None,
        "hugepages_run_id": RUN,
        "is_live": False,
    }
