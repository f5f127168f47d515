# SPDX-License-Identifier: GPL-3.0-or-later
"""The run directory: made once, locked by who executes it, finished points told from others."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from run_fakes import plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import directory as run_directory
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import (
    RunDirectory,
    RunDirectoryError,
)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run of one point."""
    made = RunDirectory.of(tmp_path, "run-1")
    made.create(plan(point(1), run_id="run-1"))
    return made


def test_plan_is_written_once(directory: RunDirectory) -> None:
    """The same plan continues, whatever the order of its keys; another one is refused."""
    same = plan(point(1), run_id="run-1")
    assert directory.create(dict(reversed(same.items()))) is False
    with pytest.raises(RunDirectoryError, match=r"plan\.json: holds another plan.*'run-1'"):
        directory.create(plan(point(2), run_id="run-1"))


@pytest.mark.parametrize("run_id", ["../x", "", ".hidden", "a/b", "a b"])
def test_run_id_cannot_leave_the_root(tmp_path: Path, run_id: str) -> None:
    """A run_id is a name, not a path."""
    with pytest.raises(BadInputError, match="run_id"):
        RunDirectory.of(tmp_path, run_id)


def test_point_is_finished_only_with_its_output_unchanged(directory: RunDirectory) -> None:
    """A record says ok *and* the file has the digest it had then; everything else is run again."""
    fio = directory.fio_path("0001")
    assert not directory.is_finished("0001")
    fio.write_text("{}")
    record = {"state": "ok", "fio_sha256": run_directory.sha256(fio)}
    directory.record_path("0001").write_text(json.dumps(record))
    assert directory.is_finished("0001")
    directory.record_path("0001").write_text(json.dumps({**record, "state": "failed"}))
    assert not directory.is_finished("0001")
    directory.record_path("0001").write_text(json.dumps(record))
    fio.write_text("{} ")
    assert not directory.is_finished("0001")
    fio.unlink()
    assert not directory.is_finished("0001")


def test_lock_tells_who_lives(directory: RunDirectory) -> None:
    """Live while a forked child holds the lock, though the opener has let go; free at its death."""
    assert not directory.is_live()
    reader, writer = os.pipe()
    with run_directory.try_lock(directory.path / "lock") as handle:
        assert handle is not None
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
    assert directory.is_live()
    os.write(writer, b"x")
    os.waitpid(child, 0)
    assert not directory.is_live()
    os.close(reader)
    os.close(writer)


def test_lock_is_awaited_with_patience(directory: RunDirectory) -> None:
    """Somebody who only looks holds the lock for a moment; that must not look like another run."""
    place = directory.path / "lock"
    child_holds, parent_reads = os.pipe()[::-1]
    child = os.fork()
    if child == 0:
        with run_directory.try_lock(place):
            os.write(child_holds, b"x")
            time.sleep(0.2)
        os._exit(0)
    os.read(parent_reads, 1)
    with run_directory.try_lock(place) as at_once:
        assert at_once is None
    with run_directory.try_lock(place, patience_s=30) as later:
        assert later is not None
    os.waitpid(child, 0)
    os.close(child_holds)
    os.close(parent_reads)


def test_age_of_the_lease(directory: RunDirectory) -> None:
    """No lease is no reason to stop; an old one is as old as its file."""
    assert directory.lease_age_s() == 0.0
    directory.renew_lease()
    past = time.time() - 100
    os.utime(directory.lease_path, (past, past))
    assert 99 < directory.lease_age_s() < 200


def test_reserve_can_be_given_back(directory: RunDirectory) -> None:
    """It takes real space while held, and freeing it twice is no error."""
    directory.hold_reserve()
    assert directory.reserve_path.stat().st_blocks * 512 >= run_directory.RESERVE_BYTES
    directory.free_reserve()
    directory.free_reserve()
    assert not directory.reserve_path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_unreadable_state_names_its_file(directory: RunDirectory, text: str) -> None:
    """A torn or foreign file gives one error with its path."""
    directory.manifest_path.write_text(text)
    with pytest.raises(RunDirectoryError, match=r"manifest\.json"):
        directory.manifest()
