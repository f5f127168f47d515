# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders for the build engine: the product ``greet``, from a hub that only a mirror reaches."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

from git_sources import Origin, product

HUB = "https://hub.example/"
OPTIONS: dict[str, Any] = {
    "name": "greet",
    "url": HUB + "greet",
    "ref": "greet-1.0",
    "configure": ["./configure", "--prefix={prefix}"],
    "tools": ["make"],
    "checks": [{"argv": ["{prefix}/bin/greet"], "contains": "greet 1.0"}],
}


class BuildLab:
    """A hub, a lab directory, and a count of the runs of configure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = folder / "hub"
        self.root = folder / "lab"
        self.counter = folder / "counter"
        self.origin: Origin = product(self.hub / "greet")
        self._numbers = itertools.count()

    @property
    def configure_count(self) -> int:
        """How often configure has run."""
        return len(self.counter.read_text().split()) if self.counter.exists() else 0

    def options(self, **changes: Any) -> dict[str, Any]:
        """The module's options."""
        return {
            **OPTIONS,
            "mirrors": {HUB: str(self.hub)},
            "environment": {"COUNTER": str(self.counter), **changes.pop("environment", {})},
            "lab_directory": str(self.root),
            "timeout_s": 60,
            **changes,
        }

    def edited(self, **files: str) -> str:
        """A tag of the product with other files; names have _ for a dot."""
        tag = f"edit-{next(self._numbers)}"
        self.origin.commit({k.replace("_", "."): v for k, v in files.items()}, tag=tag)
        return tag

    def tarball(self, name: str = "greet-1.0.tar.gz") -> Path:
        """The product as a release tarball with the usual one folder."""
        path = self.folder / name
        with tarfile.open(path, "w:gz") as tar:
            for file in sorted(self.origin.folder.iterdir()):
                if file.name != ".git":
                    tar.add(file, arcname=f"greet-1.0/{file.name}")
        return path

    def folders(self) -> list[str]:
        """What lies among the builds of the product."""
        folder = self.root / "builds" / "greet"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
