# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab hosts themselves: up, broken in the middle, and down without a trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab_folders import lab_folder, labhosts
from lab_traces import traces


@pytest.fixture
def folder() -> Path:
    """A lab beside the one of the scenarios."""
    return lab_folder("own-test")


def test_up_twice_and_down_twice(folder: Path) -> None:
    """A second `up` starts nothing anew, `down` leaves no trace, and can be repeated."""
    before = set(traces())
    try:
        assert labhosts(folder, "up", "2").stderr == ""
        processes = [(folder / name / "process").read_text() for name in ("h1", "h2")]
        assert labhosts(folder, "up", "2").returncode == 0
        assert processes == [(folder / name / "process").read_text() for name in ("h1", "h2")]
    finally:
        done = labhosts(folder, "down")
    assert done.stderr == ""
    assert set(traces()) <= before
    assert labhosts(folder, "down").returncode == 0
    pids = [int(text.split()[0]) for text in processes]
    assert [pid for pid in pids if is_alive(pid)] == []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_failed_up_takes_everything_back(folder: Path, tmp_path: Path) -> None:
    """When nspawn cannot start, the message has its words and nothing is left behind."""
    stub = tmp_path / "systemd-nspawn"
    stub.write_text("#!/bin/sh\necho no container today >&2\nexit 1\n")
    stub.chmod(0o755)
    before = set(traces())
    done = labhosts(folder, "up", "1", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 1
    assert "no container today" in done.stderr
    assert set(traces()) <= before
    assert not (folder / "h1").exists()


@pytest.mark.parametrize("words", [[], ["up"], ["up", "0"], ["up", "many"], ["sideways"]])
def test_words_that_make_no_sense(folder: Path, words: list[str]) -> None:
    """The usage is shown and nothing is done."""
    done = labhosts(folder, *words)
    assert done.returncode == 1
    assert "usage: labhosts.py up N" in done.stderr


def test_a_host_that_is_not_there(folder: Path) -> None:
    """The message names the host and those that are there."""
    done = labhosts(folder, "stop", "h7")
    assert "no lab host 'h7'; there are: none" in done.stderr
