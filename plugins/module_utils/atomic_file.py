# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class FileWriteError(NvmelabError):
    """A file could not be written; what stood under its name before is still there."""

    def __init__(self, path: Path, error: OSError) -> None:
        remedy = (
            "free space there and start the run again: it continues with the missing points"
            if error.errno in NO_SPACE
            else "make the folder writable and start the run again"
        )
        super().__init__(f"{path}: cannot be written: {error.strerror}; {remedy}")
        self.no_space = error.errno in NO_SPACE


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace ``path`` by a file with this content, mode 0644.

    Args:
        path: its folder exists.
        content: all of it.
        durable: flush to the disk before the rename; without it a power cut may leave
            the older file, never a torn one that the kernel has not been told of.

    Raises:
        FileWriteError: the disk is full, the folder is not writable, …
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise FileWriteError(path, error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` by a text in UTF-8; what came in by surrogateescape goes out again."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replace ``path`` by the value as JSON, indented, for people read these files too."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False) + "\n", durable=durable)
