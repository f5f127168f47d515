# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest images: one call gives the image of these inputs, found or made.

An image is known by the digest of everything that decides what is in it, so asking twice makes
it once. The two ways to make one, debian_image.py and cloud_image.py, are alike for this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image import store as image_store
from ansible_collections.nvmelab.bench.plugins.module_utils.image.cloud_image import CloudImage
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_image import DebianImage
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import LabKeys, lab_keys

if TYPE_CHECKING:
    from pathlib import Path

DIGEST_LENGTH = 12
ImageSource = Union[DebianImage, CloudImage]


class GuestImageError(NvmelabError):
    """An image cannot be made here; nothing was left in its place."""


@dataclass(frozen=True)
class Outcome:
    """What ``ensure`` did: ``image`` is image.json's content, None in check mode before a build."""

    changed: bool
    built: bool
    image: Optional[dict[str, Any]]
    directory: Optional[Path]


def digest(inputs: dict[str, Any]) -> str:
    """The SHA-256 of the inputs, independent of the order of their keys."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def ensure(
    root: Path,
    name: str,
    source: ImageSource,
    *,
    check_mode: bool = False,
    lock_timeout_s: float = 900.0,
) -> Outcome:
    """Make the wanted image unless it is there, and make it the current one.

    Args:
        root: the lab directory; its keys are there (module lab_keys).
        name: the first part of the image's folder.
        source: what it is made from.
        check_mode: change nothing, only tell.
        lock_timeout_s: how long to wait for another build on this host.

    Raises:
        BadInputError: a name, suite, package, URL or checksum that cannot be meant.
        GuestImageError: a tool, the keys, root or space is missing.
        ImageStoreError, ImageBuildError, …: as image_store and the source's ``make`` say.
    """
    source.check()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise BadInputError(f"guest_image name: {name!r} must be of a-z, 0-9, '.' and '-'")
    keys = lab_keys(root)
    if check_mode and not keys.public_key.exists():
        return Outcome(changed=True, built=False, image=None, directory=None)
    require_keys(keys)
    inputs = source.inputs(keys)
    directory = image_directory(root, name, inputs)
    if check_mode:
        image = image_store.read_image(directory)
        same = image is not None and image_store.points_at(root, directory)
        return Outcome(changed=not same, built=False, image=image, directory=directory)
    with image_store.locked(root, timeout_s=lock_timeout_s) as lock:
        return _find_or_make(source, keys, directory, {"name": name, "inputs": inputs}, lock)


def _find_or_make(
    source: ImageSource, keys: LabKeys, directory: Path, words: dict[str, Any], lock: int
) -> Outcome:
    """Do what ``ensure`` promises, alone in the folder of images."""
    root = keys.directory.parent
    image_store.remove_leftovers(root)
    image = image_store.read_image(directory)
    built = image is None
    if image is None:
        require_means(root, source)
        image = _make(source, keys, directory, words, lock)
    changed = image_store.point_at(root, directory) or built
    return Outcome(changed=changed, built=built, image=image, directory=directory)


def summary(image: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    """An image's description without its long parts, for a module's result."""
    if image is None:
        return None
    return {key: value for key, value in image.items() if key not in ("inputs", "packages")}


def _make(
    source: ImageSource, keys: LabKeys, directory: Path, words: dict[str, Any], lock: int
) -> dict[str, Any]:
    """Make the image in a folder of its own and land it; what its image.json holds."""
    started = time.monotonic()
    with image_store.build_folder(directory.parent, directory.name) as work:
        try:
            facts = source.make(keys, work, lock)
        except OSError as error:
            raise GuestImageError(f"{error.filename or work}: {error.strerror}") from error
        facts["durations_s"] = {"total": round(time.monotonic() - started, 1)}
        image = describe(directory, {**words, **facts})
        image_store.land(work, directory, image)
    return image


def image_directory(root: Path, name: str, inputs: dict[str, Any]) -> Path:
    """Where the image of these inputs lies, made or not."""
    return image_store.images_directory(root) / f"{name}-{digest(inputs)[:DIGEST_LENGTH]}"


def require_keys(keys: LabKeys) -> None:
    """Require the lab's keys; they are made by the module lab_keys."""
    for path in (keys.public_key, keys.host_private_key, keys.host_public_key):
        if not path.exists():
            raise GuestImageError(f"{path}: no such key; run the module lab_keys first")


def require_means(root: Path, source: ImageSource) -> None:
    """Require root, the source's tools and free space, naming all that lacks."""
    if os.geteuid() != 0:
        raise GuestImageError("making a guest image needs root: set become, or ansible_user: root")
    lacking = [tool for tool in source.tools if shutil.which(tool) is None]
    if lacking:
        packages = " ".join(sorted({source.tools[tool] for tool in lacking}))
        raise GuestImageError(f"{', '.join(lacking)}: not found; apt-get install {packages}")
    free_mib = shutil.disk_usage(root).free >> 20
    if free_mib < source.needed_mib:
        raise GuestImageError(
            f"{root}: {free_mib} MiB free, {source.needed_mib} MiB wanted to make a guest image;"
            " free space there, or set nvmelab_root to a larger file system"
        )


def describe(directory: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What image.json holds; paths are absolute, those after the image has landed.

    ``facts``: name, inputs, durations_s and what the source's ``make`` returned, where kernel
    and initrd are file names or None.
    """
    paths = {
        part: str(directory / facts[part]) if facts[part] else None for part in ("kernel", "initrd")
    }
    return {
        "schema_version": image_store.SCHEMA_VERSION,
        "name": facts["name"],
        "digest": digest(facts["inputs"]),
        "directory": str(directory),
        "disk": str(directory / "disk.raw"),
        **facts,
        **paths,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
