# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands as a user types them in the checkout, with its collection and nobody's older copy."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 600


@dataclass(frozen=True)
class UserCommands:
    """What every lab of the tests can do; a lab adds to the environment what it needs."""

    checkout: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command: own Ansible home, tools of the virtual environment."""
        return {
            **os.environ,
            "ANSIBLE_HOME": str(self.checkout / ".ansible"),
            "PWD": str(self.checkout),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, argv: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Runs to its end, with ``more`` in its environment; the caller judges the exit code."""
        return subprocess.run(
            argv, cwd=self.checkout, env={**self.environment, **more}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=DEADLINE_S,
        )  # fmt: skip

    def start(self, argv: list[str], log: Path) -> subprocess.Popen[str]:
        """Runs in its own session, as a terminal would, with its output in a file."""
        with log.open("w", encoding="utf-8") as out:
            return subprocess.Popen(
                argv, cwd=self.checkout, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
