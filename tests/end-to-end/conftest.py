# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab, and one run of the main job, for all end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_lab import Lab


@pytest.fixture(scope="session")
def lab(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab; its guest image is kept in .cache between sessions, for building costs a minute."""
    root = Path(os.environ.get("NVMELAB_TEST_ROOT", checkout / ".cache/lab-root"))
    root.mkdir(parents=True, exist_ok=True)
    lab = Lab(checkout, root, tmp_path_factory.mktemp("store"))
    yield lab
    assert lab.processes() == [], "something is left running"


@pytest.fixture(scope="session")
def tiny_run(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of the whole main job with experiment `tiny`: its output, directory and report."""
    report = tmp_path_factory.mktemp("report") / "report.html"
    before = set(lab.runs())
    done = lab.run(
        lab.playbook(
            "full-bench", "-e", "nvmelab_experiment=tiny", "-e", f"nvmelab_report={report}"
        )
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    (directory,) = set(lab.runs()) - before
    return {"output": done.stdout, "directory": directory, "report": report}
