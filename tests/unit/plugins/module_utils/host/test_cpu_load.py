# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose CPU time it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host import cpu_load
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_load import CpuSample


def write_process(
    proc: Path, pid: int, parent: int, *, own: int = 0, waited: int = 0, flags: int = 0
) -> None:
    """Write /proc/PID/stat as proc(5) describes it, under an ugly name."""
    words = ["S", str(parent), "1", "1", "0", "-1", str(flags), "0", "0", "0", "0"]
    words += [str(own), "0", str(waited), "0", "20", "0", "1", "0", "100"]
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b (c) {' '.join(words)}\n")


def test_time_of_a_family_is_ours(tmp_path: Path) -> None:
    """The root, its grandchild, and what they have waited for; not a stranger, not the kernel."""
    (tmp_path / "stat").write_text("cpu 100 10 50 800 5 7 8 20 99 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    write_process(tmp_path, 10, 1, own=1, waited=2)
    write_process(tmp_path, 11, 10, own=4)
    write_process(tmp_path, 12, 11, own=8, waited=16)
    write_process(tmp_path, 20, 1, own=1000)
    write_process(tmp_path, 2, 0, own=32, flags=cpu_load.PF_KTHREAD)
    found = cpu_load.sample([10], proc=tmp_path)
    others = {(20, "a) b (c"): 1000}
    assert found == CpuSample(1000, busy=160, steal=20, ours=31, kernel=32, others=others)


def test_load_between_samples() -> None:
    """By hand: 200 ticks, 120 busy of which 60 ours and 20 the kernel's: 40 others' = 20 %."""
    before = CpuSample(total=1000, busy=100, steal=0, ours=50, kernel=10)
    after = CpuSample(total=1200, busy=220, steal=2, ours=110, kernel=30)
    assert cpu_load.load_between(before, after) == {
        "steal_percent": 1.0,
        "other_cpu_percent": 20.0,
        "busiest_others": [],
    }


def test_busiest_others_are_named() -> None:
    """Of 1000 ticks: the three that used most, one that began meanwhile, none below half a %."""
    nothing = {"busy": 0, "steal": 0, "ours": 0, "kernel": 0}
    known = {(1, "init"): 500, (2, "cron"): 10, (3, "gone"): 700, (5, "low"): 4, (6, "d"): 0}
    later = {(1, "init"): 504, (2, "cron"): 20, (4, "apt"): 300, (5, "low"): 10, (6, "d"): 7}
    found = cpu_load.load_between(
        CpuSample(1000, **nothing, others=known), CpuSample(2000, **nothing, others=later)
    )
    assert found is not None
    assert found["busiest_others"] == [
        {"name": "apt", "pid": 4, "cpu_percent": 30.0},
        {"name": "cron", "pid": 2, "cpu_percent": 1.0},
        {"name": "d", "pid": 6, "cpu_percent": 0.7},
    ]


def test_rounding_below_nothing_is_nothing() -> None:
    """Two clocks that tick apart must not give a negative load."""
    before = CpuSample(total=0, busy=0, steal=0, ours=0, kernel=0)
    after = CpuSample(total=100, busy=50, steal=0, ours=53, kernel=0)
    found = cpu_load.load_between(before, after)
    assert found is not None
    assert found["other_cpu_percent"] == 0.0


@pytest.mark.parametrize("missing", ["before", "after", "time"])
def test_load_that_was_not_measured_is_none(missing: str) -> None:
    """Not measured is not 0."""
    sample = CpuSample(total=1, busy=0, steal=0, ours=0, kernel=0)
    pair = {"before": (None, sample), "after": (sample, None), "time": (sample, sample)}
    assert cpu_load.load_between(*pair[missing]) is None


def test_unreadable_proc_is_not_measured(tmp_path: Path) -> None:
    """A host without /proc/stat gives None."""
    assert cpu_load.sample([1], proc=tmp_path) is None


def test_this_machine_has_a_family() -> None:
    """Against the kernel: init is the ancestor of this process."""
    import os  # noqa: PLC0415

    assert os.getpid() in cpu_load.descendants(cpu_load.read_processes(), {1})
