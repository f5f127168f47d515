# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders that appear by rename: whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nvmelab.errors import NvmelabError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STALE_S = 86_400  # longer than any collecting


class StoreError(NvmelabError):
    """The store cannot take or give a record, or a file cannot be written."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path; what was written there appears as ``path``, if no error came.

    What is there already and no plain file, such as ``/dev/null``, is written to, not replaced.

    Raises:
        StoreError: the folder cannot be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            staged = Path(folder, path.name)
            yield staged
            staged.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder in ``parent``, gone afterwards.

    Raises:
        StoreError: ``parent`` cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
    except OSError as error:
        raise StoreError(f"{parent}: cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Path, target: Path, replaced: Path) -> None:
    """Let the folder ``staged`` appear as ``target``; what was there goes to ``replaced``.

    Flushed first, so that after a power cut the target is whole or absent.

    Raises:
        FileExistsError: another process was faster; its folder stays.
    """
    for path in staged.iterdir():
        _flush(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(replaced)
    try:
        staged.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, "File exists", str(target)) from error
        raise
    _flush(target.parent)


def _remove_stale(parent: Path) -> None:
    """Remove what a killed nvmelab left behind."""
    for leftover in parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _STALE_S:
                shutil.rmtree(leftover)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
