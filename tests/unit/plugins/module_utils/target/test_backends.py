# SPDX-License-Identifier: GPL-3.0-or-later
"""Backends are made whole before anybody opens them, or refused, and leave nothing behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import BackendError


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory, with the tmpfs beside it."""
    monkeypatch.setattr(backends, "TMPFS", str(tmp_path / "shm"))
    (tmp_path / "shm").mkdir()
    (tmp_path / "run-1").mkdir()
    return tmp_path / "run-1"


def test_nothing_needs_no_file(run_directory: Path) -> None:
    """null-co has a size in bytes, fills buffers, and touches no disk."""
    made = backends.create({"kind": "null-co", "size_mib": 3}, name="x", directory=run_directory)
    assert made.blockdev("n") == "driver=null-co,node-name=n,size=3145728,read-zeroes=on"
    assert list(run_directory.rglob("*")) == []


def test_a_file_on_disk_is_written_from_end_to_end(run_directory: Path) -> None:
    """Every block of a raw file holds data: what is only allocated would be read from nowhere."""
    made = backends.create({"kind": "raw-file", "size_mib": 5}, name="x", directory=run_directory)
    path = run_directory / "backends" / "x.raw"
    assert made.path == str(path)
    content = path.read_bytes()
    assert len(content) == 5 << 20
    assert all(any(content[at : at + 4096]) for at in range(0, len(content), 4096))
    assert path.stat().st_mode & 0o777 == 0o600
    backends.remove(made)
    assert list(run_directory.rglob("*")) == []


def test_a_file_in_ram_lies_in_a_folder_of_the_run(run_directory: Path) -> None:
    """Two runs never share a file in RAM, and the last one removed takes the folder along."""
    made = [
        backends.create({"kind": "ram", "size_mib": 1}, name=name, directory=run_directory)
        for name in ("x", "y")
    ]
    folder = run_directory.parent / "shm" / "nvmelab-run-1"
    assert sorted(path.name for path in folder.iterdir()) == ["x.raw", "y.raw"]
    assert not made[0].direct
    for backend in made:
        backends.remove(backend)
    assert not folder.exists()


def test_past_the_page_cache_where_the_file_system_can(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raw file is opened direct with native AIO, or with neither."""
    for direct in (True, False):
        monkeypatch.setattr(backends, "_takes_direct", lambda _, direct=direct: direct)
        monkeypatch.setattr(backends, "_fill", lambda *_: None)
        made = backends.create(
            {"kind": "raw-file", "size_mib": 1}, name="x", directory=run_directory
        )
        text = made.blockdev("n")
        word = "on" if direct else "off"
        assert f"cache.direct={word},file.cache.direct={word}" in text
        assert f"file.aio={'native' if direct else 'threads'}" in text


def test_a_comma_in_a_path_is_doubled(tmp_path: Path) -> None:
    """QEMU's options end at a comma; a doubled one is the character."""
    made = backends.Backend("raw-file", 1, "/a,b/c.raw")
    assert "file.filename=/a,,b/c.raw," in made.blockdev("n")


@pytest.mark.parametrize("kind", ["ram", "raw-file"])
def test_no_space_leaves_nothing_and_says_how_much_there_is(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A full disk is an error before the guest starts, with size wanted and size found."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BackendError, match=r"x: no space for a file of 2 MiB: .* MiB free"):
        backends.create({"kind": kind, "size_mib": 2}, name="x", directory=run_directory)
    assert not [path for path in run_directory.parent.rglob("*") if path.is_file()]


def test_more_ram_than_there_is_is_refused(run_directory: Path) -> None:
    """A RAM backend is measured against free memory before a byte is taken."""
    with pytest.raises(BackendError, match=r"x: a RAM backend of 1073741824 MiB does not fit"):
        backends.create({"kind": "ram", "size_mib": 1 << 30}, name="x", directory=run_directory)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "tape", "size_mib": 1}, "backend kind 'tape': wanted one of null-co"),
        ({"kind": "bdev_null", "size_mib": 1}, "backend kind 'bdev_null'"),
        ({"kind": "ram"}, "backend size_mib None"),
        ({"kind": "ram", "size_mib": 0}, "backend size_mib 0"),
        ({"kind": "ram", "size_mib": True}, "backend size_mib True"),
        ({"kind": "ram", "size_mib": "1G"}, "backend size_mib '1G'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run_directory: Path, spec: dict[str, object], said: str
) -> None:
    """Unknown kinds and sizes are named with what was wanted."""
    with pytest.raises(BadInputError, match=said):
        backends.create(spec, name="x", directory=run_directory)


def test_a_folder_that_somebody_else_put_there_is_not_used(run_directory: Path) -> None:
    """In a tmpfs that all can write to, a link in place of our folder is refused."""
    (run_directory.parent / "elsewhere").mkdir()
    (run_directory.parent / "shm" / "nvmelab-run-1").symlink_to(run_directory.parent / "elsewhere")
    with pytest.raises(BackendError, match="not our folder"):
        backends.create({"kind": "ram", "size_mib": 1}, name="x", directory=run_directory)


def test_leftovers_of_a_killed_session_are_removed(run_directory: Path) -> None:
    """remove_all takes all files of this run, and of no other."""
    for kind in ("ram", "raw-file"):
        backends.create({"kind": kind, "size_mib": 1}, name=kind, directory=run_directory)
    other = run_directory.parent / "shm" / "nvmelab-run-2"
    other.mkdir()
    backends.remove_all(run_directory)
    assert [path.name for path in (run_directory.parent / "shm").iterdir()] == ["nvmelab-run-2"]
    assert list(run_directory.iterdir()) == []
