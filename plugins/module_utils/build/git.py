# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs git so that it asks nobody, reads no surprise from the host, and fails in one line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    MissingToolError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.mirrors import redacted

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline

# A place that is given on purpose may belong to another user than the one who builds.
UPLOAD_PACK = "git -c safe.directory=* upload-pack"
SETTINGS = (
    "gc.auto=0",
    "core.autocrlf=false",
    "core.hooksPath=/dev/null",
    "advice.detachedHead=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
)


class GitError(BuildError):
    """git ended badly; ``reason`` is its own last word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def run_git(
    arguments: Sequence[str],
    *,
    deadline: Deadline,
    git_dir: Optional[Path] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> str:
    """What git prints.

    Raises:
        GitError: it ended badly.
        MissingToolError: there is no git.
        BuildError: the deadline passed.
    """
    argv = ["git", *(word for setting in SETTINGS for word in ("-c", setting))]
    argv += ["-c", "safe.directory=*", "-c", "protocol.version=2"]
    argv += [f"--git-dir={git_dir}"] if git_dir else []
    doing = f"git {shlex.join(redacted(word) for word in arguments)}"
    try:
        done = subprocess.run(
            [*argv, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**_environment(), **(environment or {})},
            cwd="/",
            umask=0o022,
            timeout=deadline.left_s(doing),
            check=False,
        )
    except FileNotFoundError as error:
        raise MissingToolError(
            "git is not installed, and the source is a git repository"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise deadline.missed(doing) from error
    if done.returncode:
        reason = last_word(done.stderr.decode(errors="replace"))
        raise GitError(f"{doing} failed: {reason}", reason)
    return done.stdout.decode(errors="surrogateescape")


def _environment() -> dict[str, str]:
    """Ours without GIT_*, which an outer git may have set; never a prompt, English messages."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    ssh = "ssh -o BatchMode=yes -o ConnectTimeout=20"
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": ssh}


def last_word(stderr: str) -> str:
    """The line of git's stderr that tells why: the last that is an error, else the last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.match(r"(fatal|error|remote error|ssh): ", line)
        and "the remote end hung up" not in line
        and "Could not read from remote repository" not in line
    ]
    text = (telling or lines or ["no message"])[-1]
    text = re.sub(r"^(fatal|error): ", "", text)
    return redacted(text)
