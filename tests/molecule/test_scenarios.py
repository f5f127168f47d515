# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenarios, each a test; root is needed, for the hosts are nspawn machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in CHECKOUT.glob("molecule/*/molecule.yml"))
DEADLINE_S = 600


def environment() -> dict[str, str]:
    """What molecule needs: its siblings on PATH, and an Ansible home without older copies."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_HOME": str(CHECKOUT / ".ansible")}


def traces() -> list[str]:
    """Namespaces, mounts and cgroups of labs that this machine has now."""
    namespaces = Path("/run/netns")
    found = [str(path) for path in namespaces.glob("nvl-*")] if namespaces.is_dir() else []
    found += [str(path) for path in Path("/sys/fs/cgroup").glob("*/nvl-*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob("nvl-*")]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return found + [line.split()[4] for line in mounts if ".cache/lab" in line]


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
