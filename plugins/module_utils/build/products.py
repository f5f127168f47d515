# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build leaves behind: copies of products that no install step brings, and their proof."""

from __future__ import annotations

import shlex
import shutil
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import BuildError
from ansible_collections.nvmelab.bench.plugins.module_utils.build.steps import Site, answer

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import Check, Product


def copy_products(site: Site, products: Sequence[Product]) -> None:
    """Copy the files of the built tree that the recipe names into the prefix.

    Raises:
        BuildError: a pattern fits nothing.
    """
    for product in products:
        pattern = site.filled(product.pattern)
        base = _fixed_part(pattern)
        found = sorted(site.source.glob(pattern))
        if not found:
            raise BuildError(
                f"{site.label}: products: {pattern} fits nothing in the built tree; name what the"
                " build makes",
                log=str(site.log),
            )
        for path in found:
            inner = path.relative_to(site.source / base)
            _copy(path, site.prefix / site.filled(product.folder) / inner)


def _fixed_part(pattern: str) -> Path:
    """The folders of a glob before its first wildcard, without the last part."""
    words = pattern.split("/")
    fixed = next((i for i, word in enumerate(words) if has_magic(word)), len(words) - 1)
    return Path(*words[:fixed])


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
    else:
        target.unlink(missing_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


def unmet(site: Site, checks: Sequence[Check]) -> tuple[str, dict[str, str]]:
    """Why the product does not work, empty if it does; and the first line of each answer."""
    answers: dict[str, str] = {}
    for check in checks:
        command = shlex.join(site.filled(word) for word in check.argv)
        status, text = answer(site, check.argv)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        first = lines[0][:300] if lines else ""
        if status:
            return f"{command} ended with status {status}: {first}", answers
        wanted = site.filled(check.contains)
        if wanted not in text:
            return f"{command}: found {first!r}, wanted {wanted!r} in its answer", answers
        answers[command] = first
    return "", answers
