# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a lab host: whole or not at all, one build at a time, leftovers removed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.store import (
    ImageStoreError,
    build_folder,
    current_image,
    images_directory,
    land,
    locked,
    point_at,
    points_at,
    read_image,
    remove_leftovers,
)


def landed(root: Path, name: str, **words: Any) -> Path:
    """An image with a disk, landed as builds land theirs."""
    directory = images_directory(root) / name
    with build_folder(images_directory(root), name) as work:
        (work / "disk.raw").write_text("disk")
        land(work, directory, {"name": name, "disk": str(directory / "disk.raw"), **words})
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images_directory(tmp_path).mkdir()
    return tmp_path


def test_what_landed_is_read_back(root: Path) -> None:
    """image.json comes back as it was given; nothing of the build is left beside it."""
    directory = landed(root, "a-1", kernel=None)
    image = read_image(directory)
    assert image is not None
    assert image["name"] == "a-1"
    assert [path.name for path in images_directory(root).iterdir()] == ["a-1"]
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_failed_build_leaves_its_log_only(root: Path) -> None:
    """The folder goes, the log stays and the error names it; the next success removes it."""

    def failing() -> None:
        with build_folder(images_directory(root), "a-1") as work:
            (work / "build.log").write_text("why\n")
            raise NvmelabError("it failed")

    with pytest.raises(NvmelabError) as caught:
        failing()
    log = images_directory(root) / "a-1.failed.log"
    assert [path.name for path in images_directory(root).iterdir()] == ["a-1.failed.log"]
    assert log.read_text() == "why\n"
    assert str(log) in str(caught.value)
    landed(root, "a-1")
    assert not log.exists()


def test_an_image_that_lost_a_part_is_none(root: Path) -> None:
    """Somebody removed the disk, or the kernel: the image counts as not there, and is replaced."""
    directory = landed(root, "a-1")
    (directory / "disk.raw").unlink()
    assert read_image(directory) is None
    landed(root, "a-1")
    assert read_image(directory) is not None
    missing = landed(root, "a-2", kernel="/no/such/kernel")
    assert read_image(missing) is None


@pytest.mark.parametrize("text", ["", "{", "{}"])
def test_broken_descriptions_are_none(root: Path, text: str) -> None:
    """An empty, cut or senseless image.json is no image."""
    folder = images_directory(root) / "a-1"
    folder.mkdir()
    (folder / "image.json").write_text(text)
    assert read_image(folder) is None


def test_a_newer_description_is_refused_with_the_remedy(root: Path) -> None:
    """What a newer nvmelab wrote is neither used nor replaced."""
    folder = images_directory(root) / "a-1"
    folder.mkdir()
    (folder / "image.json").write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(ImageStoreError, match=r"schema_version 2 is newer than 1; upgrade"):
        read_image(folder)


def test_current_follows_the_last_wish(root: Path) -> None:
    """The link is made once, moves with the wish, and tells whether it moved."""
    one, two = landed(root, "a-1"), landed(root, "a-2")
    assert current_image(root) is None
    assert point_at(root, one) is True
    assert point_at(root, one) is False
    assert points_at(root, one)
    assert point_at(root, two) is True
    image = current_image(root)
    assert image is not None
    assert image["name"] == "a-2"


def test_leftovers_go_and_images_stay(root: Path) -> None:
    """What killed builds left is removed: folders and half-made links."""
    landed(root, "a-1")
    (images_directory(root) / ".build-a-2-x1" / "root").mkdir(parents=True)
    (images_directory(root) / ".build-current").symlink_to("a-1")
    assert remove_leftovers(root) == [".build-a-2-x1", ".build-current"]
    assert [path.name for path in images_directory(root).iterdir()] == ["a-1"]


def test_a_second_build_waits_and_then_says_why(root: Path) -> None:
    """While another process holds the lock, the message tells where to look; after it, it works."""
    code = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code, str(images_directory(root) / ".lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with (
            pytest.raises(ImageStoreError, match="another image is being"),
            locked(root, timeout_s=0),
        ):
            pass
        other.communicate()
    with locked(root, timeout_s=0):
        pass


def test_a_child_of_a_killed_build_keeps_the_lock(root: Path) -> None:
    """The descriptor can be handed to a build's processes: the lock lasts as long as they do."""
    with locked(root, timeout_s=0) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with pytest.raises(ImageStoreError), locked(root, timeout_s=0):
            pass
    finally:
        child.kill()
        child.wait()
    with locked(root, timeout_s=0):
        pass
