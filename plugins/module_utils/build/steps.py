# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the commands of a build: logged, timed, ended as a whole when time runs out."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    MissingToolError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.toolchain import DEFAULT_PATH
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import log_tail

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline

TAIL_LINES = 15
_SHOWN_LENGTH = 120
# The first line that a compiler, make, meson or a configure script complains with.
_TELLING = re.compile(
    r"(\berror\b[:! ]|\bfatal\b|undefined reference|No such file|not found|No rule to make"
    r"|\*\*\* |Permission denied|No space left|command not found)",
    re.IGNORECASE,
)
_NOT_TELLING = re.compile(r"^\$ |\bwarning:|-Werror|\.\.\. *no\b|: *(NO|no|not found)$")


@dataclass(frozen=True)
class Site:
    """Where the steps of one build run, and with what."""

    label: str  # of the product, for messages
    source: Path
    prefix: Path
    log: Path
    environment: Mapping[str, str]
    values: Mapping[str, str]  # placeholder → value
    deadline: Deadline
    lock: Optional[int] = None  # a descriptor that every step holds as long as it lives

    def filled(self, text: str) -> str:
        """A text with its placeholders, e.g. {prefix}, replaced; other braces stay."""
        for key, value in self.values.items():
            text = text.replace(f"{{{key}}}", value)
        return text

    def variables(self) -> dict[str, str]:
        """The whole environment of a step: a fixed one, and the recipe's on top."""
        fixed = {
            "PATH": DEFAULT_PATH,
            "HOME": str(self.source.parent),
            "LANG": "C.UTF-8",
            "GIT_CEILING_DIRECTORIES": str(self.source.parent),
            "GIT_TERMINAL_PROMPT": "0",
        }
        return {**fixed, **{key: self.filled(value) for key, value in self.environment.items()}}


def run_step(site: Site, step: str, argv: Sequence[str]) -> None:
    """Run one step in the source tree, its words appended to the log.

    Raises:
        MissingToolError: its program is not there.
        BuildError: it failed or time ran out; says the first complaint in the log.
    """
    words = [site.filled(word) for word in argv]
    variables = site.variables()
    program = shutil.which(anchored(words[0], site.source), path=variables["PATH"])
    if not program:
        raise MissingToolError(
            f"{site.label}: {step} needs {words[0]}, which is not there (PATH {variables['PATH']})"
        )
    with site.log.open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(words)}\n")
        log.flush()
        begin = log.tell()
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=variables,
            cwd=site.source,
            umask=0o022,
            start_new_session=True,
            pass_fds=[] if site.lock is None else [site.lock],
        )
        status = _wait(process, site, step)
    if status:
        ending = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        raise _failed(site, f"{step} failed: {shown(words)} ended with {ending}", begin)


def shown(words: Sequence[str]) -> str:
    """A command for a message of one line; the whole of it stands in the log."""
    return shorten(shlex.join(words), _SHOWN_LENGTH, placeholder=" …")


def anchored(program: str, source: Path) -> str:
    """Where a program lies: a program that is named by a relative path lies in the source tree."""
    return str(source / program) if "/" in program and not program.startswith("/") else program


def _wait(process: subprocess.Popen[bytes], site: Site, step: str) -> int:
    """The exit status; nothing of the step is left running when this returns or raises."""
    try:
        return process.wait(timeout=site.deadline.left_s(f"{site.label}: {step}"))
    except subprocess.TimeoutExpired:
        _end(process)
        error = site.deadline.missed(f"{site.label}: {step}")
        error.log, error.log_tail = str(site.log), log_tail(site.log, TAIL_LINES).splitlines()
        raise error from None
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, wait_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait_s)
    # The group again: the leader may have ended before what it had started.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failed(site: Site, cause: str, begin: int) -> BuildError:
    """The error of a failed step; ``begin`` is where its words start in the log."""
    complaint = first_complaint(site.log, begin)
    words = f"{site.label}: {cause}" + (f": {complaint}" if complaint else "")
    tail = log_tail(site.log, TAIL_LINES).splitlines()
    return BuildError(words, log=str(site.log), log_tail=tail)


def first_complaint(log: Path, begin: int = 0) -> str:
    """The line of a log that most likely says why: the first complaint, else the last line.

    With parallel jobs the last lines are often those of jobs that went well.
    """
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
    for line in said:
        if _TELLING.search(line) and not _NOT_TELLING.search(line):
            return line[:300]
    return said[-1][:300] if said else ""


def answer(
    site: Site, argv: Sequence[str], *, limit_s: float = 30.0, folder: str = "/"
) -> tuple[int, str]:
    """The exit status of a command that only asks, and all that it says; -1: it cannot run."""
    words = [site.filled(word) for word in argv]
    variables = site.variables()
    program = shutil.which(words[0], path=variables["PATH"])
    if not program:
        return -1, f"{words[0]} is not there"
    left = site.deadline.left_s(f"{site.label}: asking {words[0]}")
    try:
        done = subprocess.run(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=folder,
            timeout=min(limit_s, left or limit_s),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"no answer in {limit_s:g} s"
    except OSError as error:
        return -1, str(error)
    return done.returncode, done.stdout.decode(errors="replace")
