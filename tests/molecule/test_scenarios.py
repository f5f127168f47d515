# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenarios, each a test; root is needed, for the hosts are nspawn machines."""

from __future__ import annotations

import os
import re
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


def test_every_role_is_run_somewhere() -> None:
    """The table of molecule/README.md has each role once, with a scenario or a test that is there.

    A scenario that it names for a role names the role.
    """
    text = (CHECKOUT / "molecule/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (.*) \| ?(.*?) ?\|$", text, re.MULTILINE)[1:]
    assert [role for role, *_ in rows] == sorted(path.name for path in CHECKOUT.glob("roles/*"))
    for role, scenarios, elsewhere in rows:
        names, files = re.findall("`([a-z_]+)`", scenarios), re.findall("`(tests/.*?)`", elsewhere)
        assert names or files, f"{role} is run nowhere"
        assert [file for file in files if not (CHECKOUT / file).is_file()] == []
        for name in names:
            plays = "".join(path.read_text() for path in CHECKOUT.glob(f"molecule/{name}/*.yml"))
            assert re.search(rf"\b{role}\b", plays), f"scenario {name} does not name {role}"
