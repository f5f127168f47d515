# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab host offers for collection."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_fakes import fake_fio, job, plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import FileWriteError
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    archives as run_archives,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    directory as run_directory,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run import (
    executor,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory

Measure = Callable[[str], RunDirectory]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Make a real run of one point below the root."""

    def make(run_id: str) -> RunDirectory:
        made = job(tmp_path, plan(point(1), run_id=run_id), fio=fake_fio(tmp_path))
        executor.execute(made)
        return made.directory

    return make


def finished_at(directory: RunDirectory) -> Any:
    """When the run ended."""
    return (directory.manifest() or {})["finished_at"]


def test_archive_holds_the_run(measure: Measure, tmp_path: Path) -> None:
    """Manifest, plan, points, raw outputs and logs; no lock, lease, socket or state."""
    directory = measure("run-1")
    directory.raw.mkdir()
    directory.raw_path("0001", "guest-1").touch()
    (directory.path / "guest.qmp").touch()
    (entry,) = run_archives.offer(tmp_path, {}).archives
    assert (entry["run_id"], entry["state"]) == ("run-1", "complete")
    assert run_directory.sha256(Path(entry["path"])) == entry["sha256"]
    with tarfile.open(entry["path"]) as archive:
        names = archive.getnames()
        text = archive.extractfile("run-1/points/0001.fio.json")
        assert text is not None
        assert text.read() == directory.fio_path("0001").read_bytes()
    assert {name.split("/")[1] for name in names if "/" in name} == set(run_archives.MEMBERS)


def test_equal_runs_give_equal_bytes(measure: Measure, tmp_path: Path) -> None:
    """Packed twice, the digest is the same: nothing of the clock is in the archive."""
    directory = measure("run-1")
    first = run_archives.pack(tmp_path, directory)
    Path(first["path"]).unlink()
    assert run_archives.pack(tmp_path, directory) == first


def test_known_run_is_not_packed_again(measure: Measure, tmp_path: Path) -> None:
    """Unless it was continued since: then it ended at another time."""
    directory = measure("run-1")
    assert run_archives.offer(tmp_path, {"run-1": finished_at(directory)}).archives == []
    assert len(run_archives.offer(tmp_path, {"run-1": "2000-01-01T00:00:00Z"}).archives) == 1


def test_running_run_is_named_and_left_alone(measure: Measure, tmp_path: Path) -> None:
    """Somebody holds its lock."""
    directory = measure("run-1")
    with run_directory.try_lock(directory.path / "lock"):
        found = run_archives.offer(tmp_path, {})
    assert (found.running, found.archives) == (["run-1"], [])


def test_run_found_dead_is_offered_as_interrupted(measure: Measure, tmp_path: Path) -> None:
    """What was measured before the power cut can be collected."""
    directory = measure("run-1")
    manifest = {**(directory.manifest() or {}), "state": "running", "finished_at": None}
    manifest["points_planned"] = 2
    directory.manifest_path.write_text(json.dumps(manifest))
    assert [one["state"] for one in run_archives.offer(tmp_path, {}, is_dry=True).archives] == [
        "running"
    ]
    found = run_archives.offer(tmp_path, {})
    assert found.interrupted == ["run-1"]
    assert found.archives[0]["state"] == "interrupted"
    assert (directory.manifest() or {})["points_done"] == 1


def test_broken_run_does_not_cost_the_others(measure: Measure, tmp_path: Path) -> None:
    """It is named with its reason; the good one is packed."""
    measure("run-1").manifest_path.write_text("{torn")
    measure("run-2")
    found = run_archives.offer(tmp_path, {})
    assert [one["run_id"] for one in found.archives] == ["run-2"]
    assert found.skipped[0]["run_id"] == "run-1"
    assert "manifest.json: cannot be read" in found.skipped[0]["reason"]


def test_run_that_is_just_beginning_counts_as_running(tmp_path: Path) -> None:
    """Between its plan and its lock a run must not be marked dead."""
    RunDirectory.of(tmp_path, "run-1").create(plan(point(1), run_id="run-1"))
    assert run_archives.offer(tmp_path, {}).running == ["run-1"]


def test_dry_run_writes_nothing(measure: Measure, tmp_path: Path) -> None:
    """Check mode names what would be packed."""
    measure("run-1")
    (entry,) = run_archives.offer(tmp_path, {}, is_dry=True).archives
    assert entry["run_id"] == "run-1"
    assert "path" not in entry
    assert not (tmp_path / "outgoing").exists()


def test_removal_takes_archives_and_leaves_runs(measure: Measure, tmp_path: Path) -> None:
    """The second removal has nothing to do."""
    directory = measure("run-1")
    run_archives.offer(tmp_path, {})
    assert run_archives.remove(tmp_path, is_dry=True)
    assert run_archives.remove(tmp_path)
    assert not run_archives.remove(tmp_path)
    assert directory.fio_path("0001").exists()


def test_no_space_leaves_no_part_of_an_archive(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the archive; the folder holds no torn file."""
    directory = measure("run-1")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_archives, "_write", full)
    with pytest.raises(FileWriteError, match=r"outgoing/run-1\.tar\.gz.*No space left"):
        run_archives.pack(tmp_path, directory)
    assert list((tmp_path / "outgoing").iterdir()) == []


def test_host_without_runs_offers_nothing(tmp_path: Path) -> None:
    """Neither the root nor its runs need exist."""
    shutil.rmtree(tmp_path)
    assert run_archives.offer(tmp_path, {}) == run_archives.Offer()
