# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs of a test's own beside the one of the scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab_traces import CHECKOUT

TOOL = str(CHECKOUT / "tests/lab/labhosts.py")


def lab_folder(name: str) -> Path:
    """A lab's folder; its image is the scenarios', so that none is built twice."""
    place = CHECKOUT / ".cache" / "lab" / name
    place.mkdir(parents=True, exist_ok=True)
    image = Path(labhosts(place.parent, "image").stdout.strip())
    if not (place / image.name).exists():
        (place / image.name).symlink_to(image)
    return place


def labhosts(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What the tool answers."""
    environment = {**os.environ, "NVMELAB_LAB_DIRECTORY": str(folder), **variables}
    return subprocess.run(
        [sys.executable, TOOL, *words], env=environment, capture_output=True, text=True, check=False
    )
