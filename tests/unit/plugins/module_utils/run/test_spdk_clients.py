# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of a real SPDK build at its real target, as the executor runs them.

NVMELAB_SPDK_DIRECTORY names SPDK's build; without it, or without 2 GiB of free hugepages, nothing
here runs. No speed is asserted.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_fakes import fake_fio, job, plan, point
from vm_less import NULL, OPTIONS, reasons, served, vm_less

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import capabilities
from ansible_collections.nvmelab.bench.plugins.module_utils.run import executor, leftovers, result
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory
from ansible_collections.nvmelab.bench.plugins.module_utils.target import spdk_host

REAL = os.environ.get("NVMELAB_SPDK_DIRECTORY")


def _lacking() -> str:
    if not REAL:
        return "NVMELAB_SPDK_DIRECTORY names no SPDK build: not run against its clients"
    try:
        spdk_host.require_hugepages("SPDK's clients", 2048)
    except NvmelabError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(_lacking()), reason=_lacking() or "all is there")


@pytest.fixture
def root() -> Iterator[Path]:
    """A lab directory with a short name: a socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        yield Path(folder)


def prepared(root: Path, whole: dict[str, Any]) -> executor.Job:
    """A job on the real programs."""
    made = job(root, whole, fio=fake_fio(root))
    known = {**made.capabilities, "spdk": capabilities.spdk_programs(REAL)}
    return dataclasses.replace(made, capabilities=known)


def test_bdev_alone_and_vfio_user_without_a_guest_are_measured(root: Path) -> None:
    """Both give a row with I/Os and a whole histogram; nothing is left of them."""
    first = point(1, client="bdevperf", device="bdev", stack="bdev", fio=OPTIONS)
    whole = served(vm_less("vm-less", 2))
    alone = plan(first)
    alone["environments"]["host"]["host_files"] = [{"name": "bdev", "backend": NULL}]
    whole["points"] = [first, *whole["points"]]
    whole["environments"].update(alone["environments"])
    made = prepared(root, whole)
    executor.execute(made)
    assert reasons(made.directory) == [None, None]
    rows = result.rows_of(made.directory)
    assert [row["client"] for row in rows] == ["bdevperf", "spdk_nvme_perf"]
    for row in rows:
        assert row["total_ios"] > 100
        assert row["lat_mean_ns"] > 0
        assert row["runtime_ms"] >= 950
    assert leftovers.marked_pids(made.directory.run_id) == []


def kill_the_target(directory: RunDirectory) -> None:
    """Kill nvmf_tgt once its client has run for a moment."""
    while not any(_is_perf(pid) for pid in leftovers.marked_pids(directory.run_id)):
        time.sleep(0.05)
    time.sleep(1.5)
    (target,) = processes.recorded(directory.processes)
    os.kill(target.pid, signal.SIGKILL)


def _is_perf(pid: int) -> bool:
    try:
        return b"spdk_nvme_perf" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_client_that_spins_at_a_dead_target_is_ended(root: Path) -> None:
    """The point names the target's signal, and the client, which ignores SIGTERM, is gone."""
    made = prepared(root, served(vm_less("dies", fio={**OPTIONS, "runtime": 60}, limit_s=90.0)))
    killer = threading.Thread(target=kill_the_target, args=(made.directory,), daemon=True)
    killer.start()
    executor.execute(made)
    killer.join(5)
    (reason,) = reasons(made.directory)
    assert str(reason).startswith("nvmf-tgt-dies: spdk-nvmf-tgt was killed by SIGKILL")
    assert leftovers.marked_pids(made.directory.run_id) == []
