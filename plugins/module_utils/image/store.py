# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest images of a lab host: found, locked, cleaned up, and landed whole or not at all.

Layout: ``<root>/images/<name>-<digest12>/`` holds an image with its ``image.json``;
``<root>/images/current`` is a link to the one that was asked for last; ``.build-*`` beside them
is a build that runs or was killed.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils import file_lock
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import remove_tree

SCHEMA_VERSION = 1
CURRENT = "current"
BUILD_PREFIX = ".build-"
# Files named in image.json that must lie beside it, when they are not null.
PARTS = ("disk", "kernel", "initrd", "seed")


class ImageStoreError(NvmelabError):
    """The folder of images is in use, not writable, or holds what cannot be read."""


def images_directory(root: Path) -> Path:
    """Where the images of the lab directory ``root`` lie."""
    return root / "images"


def read_image(directory: Path) -> Optional[dict[str, Any]]:
    """What image.json says of a complete image; None when there is none or a part of it is lost.

    Raises:
        ImageStoreError: written by a newer nvmelab.
    """
    try:
        image = json.loads((directory / "image.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if image.get("schema_version", 0) > SCHEMA_VERSION:
        raise ImageStoreError(
            f"{directory}/image.json: schema_version {image['schema_version']} is newer than"
            f" {SCHEMA_VERSION}; upgrade nvmelab, or remove {directory} for a new image"
        )
    parts = [image.get(part) for part in PARTS]
    whole = image.get("disk") and all(Path(part).is_file() for part in parts if part)
    return image if whole else None


def current_image(root: Path) -> Optional[dict[str, Any]]:
    """What image.json says of the image that was asked for last; None when there is none.

    Beside the keys of capabilities.guest_image: ``kernel_cmdline``, ``initrd``, ``seed`` (null or
    a path), ``packages`` (name → version), ``inputs``, ``created_at``, ``durations_s``.
    """
    return read_image(images_directory(root) / CURRENT)


def point_at(root: Path, directory: Path) -> bool:
    """Make ``current`` lead to this image; whether that changed anything."""
    link = images_directory(root) / CURRENT
    if link.is_symlink() and link.readlink() == Path(directory.name):
        return False
    fresh = link.with_name(f"{BUILD_PREFIX}{CURRENT}")
    if fresh.is_symlink():
        fresh.unlink()
    fresh.symlink_to(directory.name)
    fresh.replace(link)
    return True


def points_at(root: Path, directory: Path) -> bool:
    """Whether ``current`` leads to this image."""
    link = images_directory(root) / CURRENT
    return link.is_symlink() and link.readlink() == Path(directory.name)


@contextmanager
def locked(root: Path, *, timeout_s: float) -> Iterator[int]:
    """Hold the folder of images alone; gives the lock's descriptor, for the build's processes.

    Raises:
        ImageStoreError: another build holds it for longer than ``timeout_s``.
    """
    folder = images_directory(root)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("w", encoding="utf-8") as file:
        deadline = time.monotonic() + timeout_s
        while not file_lock.take(file.fileno()):
            if time.monotonic() > deadline:
                raise ImageStoreError(
                    f"{path}: another image is being built here for more than {timeout_s:.0f} s;"
                    f" see {folder}/{BUILD_PREFIX}*/build.log, or run again when it has ended"
                )
            time.sleep(0.2)
        yield file.fileno()


def remove_leftovers(root: Path) -> list[str]:
    """Remove what killed builds left; call with the lock held. The names of what was removed."""
    leftovers = sorted(images_directory(root).glob(f"{BUILD_PREFIX}*"))
    for path in leftovers:
        if path.is_symlink():
            path.unlink()
        else:
            remove_tree(path)
    return [path.name for path in leftovers]


@contextmanager
def build_folder(folder: Path, name: str) -> Iterator[Path]:
    """A fresh folder for a build among the images, removed when the build fails.

    Its build.log is then kept as ``<name>.failed.log`` until an image lands under that name, and
    an error that passes through here names it.
    """
    work = Path(tempfile.mkdtemp(prefix=f"{BUILD_PREFIX}{name}-", dir=folder))
    try:
        yield work
    except BaseException as error:
        log, kept = work / "build.log", failed_log(folder, name)
        if log.exists():
            log.replace(kept)
            if isinstance(error, NvmelabError):
                error.log = str(kept)
        remove_tree(work)
        raise


def failed_log(folder: Path, name: str) -> Path:
    """Where the log of a build lies that failed."""
    return folder / f"{name}.failed.log"


def land(work: Path, directory: Path, image: dict[str, Any]) -> None:
    """Write image.json into the build's folder and rename it to its final name.

    The folder stays closed to other users (0700): the disk holds the guests' host key.
    """
    text = json.dumps(image, indent=1) + "\n"
    (work / "image.json").write_text(text, encoding="utf-8")
    for path in work.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    remove_tree(directory)
    work.rename(directory)
    failed_log(directory.parent, directory.name).unlink(missing_ok=True)
