# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own programs: where they are, and what they say when they are run."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

# /usr/local first, as in root's own PATH.
_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_SAID_LINES = 5


def find_tool(system: Path, name: str) -> Optional[str]:
    """Return the absolute path of a program of the machine below this root, or None."""
    return shutil.which(name, path=":".join(str(system / folder) for folder in _FOLDERS))


def output(
    argv: Sequence[str], *, error: type[NvmelabError], deadline_s: float, advice: str = ""
) -> str:
    """Return what a program wrote to its standard output.

    Args:
        argv: the program and its arguments.
        error: what to raise.
        deadline_s: how long it may take.
        advice: what to do when it fails.

    Raises:
        NvmelabError: it cannot be run, did not end in time, or failed; with the end of what it
            said.
    """
    words = " ".join(argv)
    next_step = f"; {advice}" if advice else ""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=deadline_s,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as cause:
        raise error(f"{words}: did not end within {deadline_s:g} s{next_step}") from cause
    except OSError as cause:
        raise error(f"{words}: cannot be run: {cause.strerror}{next_step}") from cause
    if done.returncode:
        said = " | ".join((done.stderr + done.stdout).strip().splitlines()[-_SAID_LINES:])
        raise error(
            f"{words}: ended with status {done.returncode}: {said or 'nothing said'}{next_step}"
        )
    return done.stdout
