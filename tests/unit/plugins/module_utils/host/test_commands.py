# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host: found below its root, and each way to fail told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.commands import find_tool, output


class ToolError(NvmelabError):
    """What the caller wants to be raised."""


def tool(path: Path, text: str) -> str:
    """Make a script, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(argv: list[str], deadline_s: float = 60, **more: str) -> str:
    """With an error of the caller's."""
    return output(argv, error=ToolError, deadline_s=deadline_s, **more)


def test_a_tool_is_found_below_the_root(tmp_path: Path) -> None:
    """The local one first; never one of the machine that runs the test; only what can be run."""
    assert find_tool(tmp_path, "sh") is None
    usual = tool(tmp_path / "usr/sbin/grubby", "")
    assert find_tool(tmp_path, "grubby") == usual
    local = tool(tmp_path / "usr/local/sbin/grubby", "")
    assert find_tool(tmp_path, "grubby") == local
    Path(local).chmod(0o644)
    assert find_tool(tmp_path, "grubby") == usual


def test_output_is_what_it_wrote(tmp_path: Path) -> None:
    """Standard output alone, in the language of the code that reads it, with nothing to read."""
    script = tool(tmp_path / "one", 'echo "$LC_ALL $1"; echo warned >&2; cat')
    assert run([script, "a b"]) == "C a b\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo out; echo no such disk >&2; exit 3", "ended with status 3: no such disk | out"),
        ("exit 1", "ended with status 1: nothing said"),
        ("seq 9 >&2; exit 1", "ended with status 1: 5 | 6 | 7 | 8 | 9"),
        ("exec sleep 60", "did not end within 0.2 s"),
    ],
)
def test_a_failure_is_told(tmp_path: Path, text: str, said: str) -> None:
    """The command, how it ended, the end of what it said, and what to do."""
    script = tool(tmp_path / "one", text)
    deadline_s = 0.2 if "sleep" in text else 60
    with pytest.raises(ToolError) as failed:
        run([script, "-x"], deadline_s, advice="run it again")
    assert str(failed.value) == f"{script} -x: {said}; run it again"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """Not a traceback; and no advice where none was given."""
    with pytest.raises(ToolError) as failed:
        run([str(tmp_path / "none")])
    assert str(failed.value) == f"{tmp_path}/none: cannot be run: No such file or directory"
