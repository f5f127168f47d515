# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The builds of a lab host, side by side.

Layout, for a product NAME below the lab directory::

    builds/NAME/VERSION-DIGEST/             the prefix: bin, lib, … as installed
    builds/NAME/VERSION-DIGEST/build.json   the stamp, written last: without it nothing is there
    builds/NAME/VERSION-DIGEST/build.log    all that the build said
    builds/NAME/build.log                   the same while it runs, or of the last that failed
    builds/NAME/.work-*                     the tree while it is being built
    cache/source/                           bare git caches and tarballs

Nothing points at "the current" build: who uses one names it by its path.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.build import stamp
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError

STAMP = "build.json"
LOG = "build.log"
WORK_PREFIX = ".work-"


@dataclass(frozen=True)
class Shelf:
    """Where the builds of one product lie."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder of all builds of the product."""
        return self.root / "builds" / self.name

    @property
    def lock(self) -> Path:
        """The lock that whoever builds the product holds; outside of what ``remove`` takes away."""
        return self.root / "builds" / f".{self.name}.lock"

    @property
    def log(self) -> Path:
        """The log of the build that runs, or of the last that failed."""
        return self.folder / LOG

    def prefix(self, version: str, digest: str) -> Path:
        """The folder that a build is installed into."""
        return self.folder / f"{version}-{digest}"

    def work(self, prefix: Path) -> Path:
        """The folder that holds the tree of a build while it is made."""
        return self.folder / f"{WORK_PREFIX}{prefix.name}"

    def read(self, prefix: Path) -> Optional[dict[str, Any]]:
        """The stamp of a whole build; None when there is none.

        Raises:
            BuildError: it was written by a newer nvmelab.
        """
        try:
            record: dict[str, Any] = json.loads((prefix / STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        found = record.get("schema_version", 0)
        if found > stamp.SCHEMA_VERSION:
            raise BuildError(
                f"{prefix / STAMP}: found schema_version {found}, wanted at most"
                f" {stamp.SCHEMA_VERSION}; upgrade nvmelab, or remove {prefix} to build anew"
            )
        # A folder that was copied elsewhere holds programs that look for files at its old place.
        is_here = record.get("prefix") == str(prefix)
        return record if is_here and isinstance(record.get("inputs"), dict) else None

    def stamps(self) -> list[dict[str, Any]]:
        """The stamps of all whole builds, the newest first."""
        found = [self.read(path.parent) for path in self.folder.glob(f"*/{STAMP}")]
        return sorted(
            (record for record in found if record),
            key=lambda record: str(record.get("built_at")),
            reverse=True,
        )

    def write(self, prefix: Path, record: Mapping[str, Any]) -> None:
        """Put the log to the build and then the stamp: from here on the build is whole."""
        if self.log.exists():
            self.log.replace(prefix / LOG)
        write_json(prefix / STAMP, dict(record))

    def clear(self, prefix: Path) -> Path:
        """Remove what builds that failed or were killed left; the folder for a new tree.

        Call with the lock held. The stamp goes first, so that a removal that is interrupted
        leaves no build that looks whole.
        """
        (prefix / STAMP).unlink(missing_ok=True)
        for left in [prefix, *self.folder.glob(f"{WORK_PREFIX}*")]:
            if left.is_dir():
                shutil.rmtree(left)
        self.log.unlink(missing_ok=True)
        return self.work(prefix)

    def users(self) -> list[str]:
        """The processes that run a program of these builds, e.g. ``nvmf_tgt (pid 812)``."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                program = (entry / "exe").readlink()
            except OSError:
                continue
            if self.folder in program.parents:
                found.append(f"{program.name} (pid {entry.name})")
        return sorted(found)


def build_of(program: Path) -> Optional[dict[str, Any]]:
    """The stamp of the build that a program belongs to; None when we have not built it.

    A link to the program is followed, so this also answers for one that PATH finds.
    """
    for folder in program.resolve().parents:
        if (folder / STAMP).is_file() and folder.parent.parent.name == "builds":
            return Shelf(folder.parents[2], folder.parent.name).read(folder)
    return None
