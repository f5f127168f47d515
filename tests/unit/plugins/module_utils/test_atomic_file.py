# SPDX-License-Identifier: GPL-3.0-or-later
"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.nvmelab.bench.plugins.module_utils import atomic_file
from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import FileWriteError


@given(content=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_bytes_of_fio_go_to_disk_unchanged(tmp_path: Path, content: bytes) -> None:
    """What was decoded with surrogateescape is on disk byte by byte as it came."""
    path = tmp_path / "out"
    atomic_file.write_text(path, content.decode("utf-8", "surrogateescape"), durable=False)
    assert path.read_bytes() == content


def test_full_disk_leaves_the_older_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full the reader still sees the older content, and nothing else is there."""
    path = tmp_path / "manifest.json"
    atomic_file.write_json(path, {"state": "running"})

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(FileWriteError, match=r"manifest\.json: .*No space left.*continues") as told:
        atomic_file.write_json(path, {"state": "complete"})
    assert told.value.no_space
    assert json.loads(path.read_text()) == {"state": "running"}
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_told_with_its_path(tmp_path: Path) -> None:
    """The message names the file that could not be written."""
    with pytest.raises(FileWriteError, match="gone/file: cannot be written: No such file"):
        atomic_file.write_text(tmp_path / "gone" / "file", "x")
