# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stamp of a build: everything that decides what comes out of it, and its digest.

Pure: what was asked for and what was found in, comparison out. Where a source was fetched from,
how long it took and how many jobs ran are recorded beside it, and decide nothing.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Mapping, Sequence

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import Recipe

# 1: commit or sha256, submodules, commands, environment, products, toolchain, machine.
SCHEMA_VERSION = 1
DIGEST_LENGTH = 12
# Not known on a host that only unpacks what another has built.
TOOLCHAIN = "toolchain"


def inputs_of(
    recipe: Recipe,
    *,
    commits: Mapping[str, str],
    toolchain: Mapping[str, str],
    machine: str,
) -> dict[str, Any]:
    """All that decides what a build is.

    Args:
        recipe: commands as written, with their placeholders: ``{prefix}`` holds the digest.
        commits: path of the repository in the tree → its commit; empty for a tarball.
        toolchain: tool → version.
        machine: the architecture, e.g. ``x86_64``.
    """
    source = {"sha256": recipe.sha256} if recipe.sha256 else {"commit": commits[""]}
    known = recipe.configure_if_known
    return {
        "name": recipe.name,
        "source": source,
        "submodules": {path: commit for path, commit in sorted(commits.items()) if path},
        "configure": list(recipe.configure),
        # Only where there are some: builds from before this option keep their digest.
        **({"configure_if_known": list(known)} if known else {}),
        "build": list(recipe.build),
        "install": list(recipe.install),
        "environment": dict(recipe.environment),
        "products": [[product.pattern, product.folder] for product in recipe.products],
        TOOLCHAIN: dict(toolchain),
        "machine": machine,
    }


def digest_of(inputs: Mapping[str, Any]) -> str:
    """The digest of the inputs, in hex; the same whatever order their keys have."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What makes two builds differ, a line each: ``configure: found --a, wanted --b``."""
    lines = []
    for key in sorted(set(found) | set(wanted)):
        lines += _differences(key, found.get(key), wanted.get(key))
    return lines


def _differences(key: str, found: Any, wanted: Any) -> list[str]:
    if found == wanted:
        return []
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        lines = []
        for name in sorted(set(found) | set(wanted)):
            lines += _differences(f"{key} {name}", found.get(name), wanted.get(name))
        return lines
    if isinstance(found, list) and isinstance(wanted, list):
        gone = [item for item in found if item not in wanted]
        come = [item for item in wanted if item not in found]
        if gone or come:
            found, wanted = gone, come
    return [f"{key}: found {_text(found)}, wanted {_text(wanted)}"]


def _text(value: Any) -> str:
    if value is None or value == []:
        return "nothing"
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def closest(
    stamps: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[str]]:
    """The stamp that differs least from what is wanted, and how; ``stamps`` is not empty."""
    pairs = [(stamp, differences(stamp["inputs"], wanted)) for stamp in stamps]
    return min(pairs, key=lambda pair: len(pair[1]))
