# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's programs were built by us, and from what: for the record of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build.store import STAMP, build_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def builds_of(paths: Iterable[Optional[str]]) -> dict[str, dict[str, Any]]:
    """Return product → what its stamp says, of the builds that programs or prefixes belong to.

    With them come the builds that they were made against, such as the xNVMe of a fio. A program
    that we have not built is left out, and so is None. Where two builds of a product are named,
    the first counts.

    Raises:
        BuildError: a stamp was written by a newer nvmelab.
    """
    found: dict[str, dict[str, Any]] = {}
    left = [path for path in paths if path]
    while left:
        record = build_of(_inside(Path(left.pop(0))))
        if record and record["name"] not in found:
            found[record["name"]] = _summary(record)
            left += _made_against(record)
    return found


def _inside(path: Path) -> Path:
    """Return a file of the build: a prefix is no part of itself."""
    return path / STAMP if path.is_dir() else path


def _made_against(record: Mapping[str, Any]) -> list[str]:
    """Return the prefixes of other builds that a build's environment names."""
    shelves = str(Path(record["prefix"]).parents[1])
    values = " ".join(record["inputs"].get("environment", {}).values())
    return re.findall(rf"{re.escape(shelves)}/[^/\s:,]+/[^/\s:,]+", values)


def _summary(record: Mapping[str, Any]) -> dict[str, Any]:
    source = record["source"]
    return {
        "version": record["version"],
        "digest": record["digest"],
        "prefix": record["prefix"],
        "url": source["url"],
        "ref": source.get("ref"),
        "commit": source.get("commit"),
        "sha256": source.get("sha256"),
        "submodules": {item["path"]: item["commit"] for item in record["submodules"]},
        "stand_ins": [item["path"] for item in record["submodules"] if item["stand_in"]],
    }
