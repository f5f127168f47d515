# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenarios, each a test; root is needed, for the hosts are nspawn machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab_traces import CHECKOUT, traces

SCENARIOS = sorted(path.parent.name for path in CHECKOUT.glob("molecule/*/molecule.yml"))
DEADLINE_S = 600


def environment() -> dict[str, str]:
    """What molecule needs: its siblings on PATH, and an Ansible home without older copies."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_HOME": str(CHECKOUT / ".ansible")}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    """The scenario passes from nothing, and of its hosts no trace is left on this machine."""
    before = set(traces())
    done = subprocess.run(
        [sys.executable, "-m", "molecule", "test", "--scenario-name", scenario],
        cwd=CHECKOUT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout
    assert set(traces()) <= before
