# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on real hosts: this machine, and one that is away. It looks and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
LAB = CHECKOUT / "inventories/lab"
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def doctor(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "nvmelab", "doctor", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, cwd=CHECKOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found() -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of this machine."""
    done = doctor("-i", LAB, "--format", "json")
    return done.returncode, json.loads(done.stdout)


@pytest.mark.skipif(not THP.exists(), reason="this kernel has no transparent hugepages")
def test_rows_are_what_the_kernel_says(found: tuple[int, dict[str, Any]]):
    """The kernel's own file is the witness, before and after: nothing was changed."""
    word = THP.read_text("ascii").partition("[")[2].partition("]")[0]
    (host,) = found[1]["hosts"]
    (row,) = [row for row in host["rows"] if row["knob"] == "thp"]
    assert (row["effective"], row["asked"]) == (word, "never")
    assert row["state"] == ("ok" if word == "never" else "differs")


def test_exit_code_says_whether_there_is_something_to_change(found: tuple[int, dict[str, Any]]):
    """4 with findings, 0 without; every finding is of this host and names its cost."""
    code, data = found
    assert code == (4 if data["findings"] else 0)
    differing = {row["knob"] for row in data["hosts"][0]["rows"] if row["state"] == "differs"}
    assert {one["setting"].rpartition(".")[2] for one in data["findings"]} == differing
    assert all(one["hosts"] == ["localhost"] for one in data["findings"])
    assert data["hosts"][0]["duration_s"] < 60  # it is there, and in seconds


def test_nothing_asked_is_nothing_to_change(found: tuple[int, dict[str, Any]]):
    """An inventory that takes every wish away has a doctor that finds nothing: exit code 0."""
    rows = found[1]["hosts"][0]["rows"]
    wishes: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["state"] == "differs":
            wishes.setdefault(row["group"], {})[row["knob"]] = None
    done = doctor("-i", LAB, "-e", json.dumps({"nvmelab_host_state": wishes}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to change on 1 host" in done.stdout


def test_a_host_that_is_away_costs_the_others_nothing(tmp_path: Path):
    """The lab of one is told all the same; the other is named on stderr, and the exit code is 1."""
    away = tmp_path / "away.yml"
    away.write_text("lab: {hosts: {away: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    done = doctor("-i", LAB, "-i", away)
    assert done.returncode == 1
    assert "1 host" in done.stdout.splitlines()[0]
    assert "away: unreachable" in done.stderr


def test_a_setting_that_does_not_exist_is_bad_input():
    """A mistyped name is refused with the nearest one, before any host is asked: exit code 2."""
    wish = {"nvmelab_host_state": {"cpupower": {"governer": "performance"}}}
    done = doctor("-i", LAB, "-e", json.dumps(wish))
    assert done.returncode == 2
    assert "did you mean 'governor'" in done.stderr
