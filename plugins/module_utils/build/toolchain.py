# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools of a build call themselves: an upgraded compiler is another build."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import MissingToolError

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline

# The distribution's tools only: a pyenv, a conda or a ~/bin in the caller's PATH would make
# builds differ by who started them. A recipe's environment may say otherwise.
DEFAULT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_COMPILERS = ("CC", "CXX", "LD")
_ANSWER_S = 20.0


def wanted_tools(tools: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The tools to ask, each once: the recipe's, and compilers that its environment names."""
    named = [environment[key] for key in _COMPILERS if environment.get(key)]
    return list(dict.fromkeys([*tools, *(shlex.split(name)[0] for name in named)]))


def toolchain(
    tools: Sequence[str], environment: Mapping[str, str], deadline: Deadline
) -> dict[str, str]:
    """The first line that each tool says of its version.

    A tool is a program, asked ``--version``, or a whole command, e.g. ``pkg-config --modversion
    liburing``; a library's version belongs to a build as much as the compiler's does.

    Raises:
        MissingToolError: names all that lack, and where they were looked for; or the command that
            fails, e.g. for want of a library.
    """
    wanted = wanted_tools(tools, environment)
    path = environment.get("PATH", DEFAULT_PATH)
    missing = [tool for tool in wanted if not shutil.which(shlex.split(tool)[0], path=path)]
    if missing:
        names = ", ".join(dict.fromkeys(shlex.split(tool)[0] for tool in missing))
        raise MissingToolError(f"not found on PATH ({path}): {names}; install what brings them")
    return {tool: _version(tool, {**environment, "PATH": path}, deadline) for tool in wanted}


def _version(tool: str, environment: Mapping[str, str], deadline: Deadline) -> str:
    words = shlex.split(tool)
    if len(words) > 1:
        status, text = _ask(words, environment, deadline)
        if status:
            raise MissingToolError(f"tools: {tool} ended with status {status}: {text}")
        return text
    # Programs that know no --version are asked -v, e.g. an old nasm; some know neither.
    for option in ("--version", "-v"):
        status, text = _ask([tool, option], environment, deadline)
        if status == 0:
            return text
    return "unknown"


def _ask(
    argv: Sequence[str], environment: Mapping[str, str], deadline: Deadline
) -> tuple[int, str]:
    """The exit status and the first line that is not blank."""
    left = deadline.left_s(f"asking {argv[0]} for its version")
    program = shutil.which(argv[0], path=environment["PATH"]) or argv[0]
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**_inherited(), **environment, "LC_ALL": "C"},
            timeout=min(_ANSWER_S, left or _ANSWER_S),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    lines = done.stdout.decode(errors="replace").splitlines()
    return done.returncode, next((line.strip() for line in lines if line.strip()), "")


def _inherited() -> dict[str, str]:
    return {"HOME": os.environ.get("HOME", "/")}
