# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module as Ansible does: a process of its own, arguments on stdin."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any


def run_module(module: ModuleType, **params: object) -> dict[str, Any]:
    """Return the module's result; its exit status must agree with it."""
    done = subprocess.run(
        [sys.executable, str(module.__file__)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": params}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if result.get("failed") else 0), done.stderr
    return result
