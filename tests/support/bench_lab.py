# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of one on this machine, in a directory of its own, and commands as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from user_commands import UserCommands


@dataclass(frozen=True)
class Lab(UserCommands):
    """Where this session's lab host keeps its things, and where its results are collected."""

    root: Path
    store: Path

    @property
    def environment(self) -> dict[str, str]:
        """As every lab's, with a store of its own."""
        return {**super().environment, "NVMELAB_STORE": str(self.store)}

    def playbook(self, name: str, *more: str) -> list[str]:
        """The command line of a playbook against this lab."""
        return [
            "ansible-playbook", f"playbooks/{name}.yml", "-i", "inventories/lab",
            "-e", f"nvmelab_root={self.root}", *more,
        ]  # fmt: skip

    def nvmelab(self, *words: str) -> list[str]:
        """The command line of ``python -m nvmelab``."""
        return [sys.executable, "-m", "nvmelab", *words]

    def runs(self) -> list[Path]:
        """The run directories on the lab host, oldest first."""
        return sorted((self.root / "runs").glob("*")) if self.root.is_dir() else []

    def manifest(self, run: Path) -> dict[str, Any]:
        """What the run says of itself."""
        document: dict[str, Any] = json.loads((run / "manifest.json").read_text("utf-8"))
        return document

    def processes(self) -> list[str]:
        """Command lines of living processes that mention this lab's root, ourselves left out."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue  # it ended while we looked
            line = b" ".join(words).decode(errors="replace")
            # A control node's process names the root as a variable, a started one as a path.
            if f"{self.root}/" in line and "ansible" not in line and "pytest" not in line:
                found.append(line)
        return found


def wait_until(what: str, condition: Callable[[], Any], deadline_s: float = 120) -> Any:
    """The condition's first true value; fails naming what was awaited."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    pytest.fail(f"waited {deadline_s} s for {what}")


def kill_session(process: subprocess.Popen[str], how: signal.Signals) -> None:
    """Signals the whole session, as a terminal does with Ctrl-C."""
    os.killpg(process.pid, how)
