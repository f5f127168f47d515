# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A git repository and its submodules, each at one commit, put together into a plain tree.

The tree is written from bare caches: it has no ``.git``, so it is never dirty, and nothing that a
build does to it is seen by another. ``GIT_CEILING_DIRECTORIES`` keeps builds from finding an outer
repository.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build import mirrors
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    NotCachedError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.git import GitError, run_git
from ansible_collections.nvmelab.bench.plugins.module_utils.build.git_cache import GitCache
from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import Override, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline


@dataclass(frozen=True)
class Access:
    """How sources are had: from where instead, and whether anything may be fetched."""

    folder: Path  # of all caches
    mirrors: Mapping[str, str]
    offline: bool
    refresh: bool
    deadline: Deadline

    def cache(self, url: str) -> GitCache:
        """The cache of a canonical URL."""
        place = mirrors.fetched_from(url, self.mirrors)
        return GitCache.of(self.folder, url, place, self.deadline)


@dataclass(frozen=True)
class Piece:
    """One repository of the tree: the top (path ``""``), a submodule, or what was put in."""

    path: str
    cache: GitCache
    ref: str
    commit: str
    pinned: Optional[str]  # the commit that the parent names; None at the top and for additions

    @property
    def is_stand_in(self) -> bool:
        """Whether another commit than the pinned one was taken."""
        return self.pinned is not None and self.pinned != self.commit

    def as_dict(self) -> dict[str, Any]:
        """What a record says of it."""
        return {
            "path": self.path,
            "url": mirrors.redacted(self.cache.url),
            "fetched_from": mirrors.redacted(self.cache.place),
            "ref": self.ref,
            "commit": self.commit,
            "pinned": self.pinned,
            "stand_in": self.is_stand_in,
        }


def resolve(recipe: Recipe, access: Access) -> list[Piece]:
    """The repository and the submodules that the recipe wants, parents first.

    Raises:
        NotCachedError: something would have to be fetched, and must not be.
        BuildError: something is not to be had; names the repository.
    """
    assert recipe.ref is not None  # noqa: S101 a recipe of a tarball does not come here
    cache = access.cache(recipe.url)
    commit = cache.obtain(recipe.ref, offline=access.offline, refresh=access.refresh)
    if recipe.commit and recipe.commit != commit:
        raise BuildError(
            f"{recipe.ref} of {cache.where}: found commit {commit}, wanted {recipe.commit}; the tag"
            " was moved, or the mirror is of another repository"
        )
    top = Piece("", cache, recipe.ref, commit, None)
    walk = _Walk(recipe, access)
    return [top, *walk.below(top), *walk.additions()]


class _Walk:
    """Goes down the submodules, noting which of the recipe's wishes were met."""

    def __init__(self, recipe: Recipe, access: Access) -> None:
        self._recipe = recipe
        self._access = access
        self._seen: set[str] = set()

    def below(self, parent: Piece) -> list[Piece]:
        """The wanted submodules of a piece, and theirs."""
        found = []
        for name, url in _declared(parent).items():
            path = f"{parent.path}/{name}".lstrip("/")
            self._seen.add(path)
            if self._is_wanted(path):
                piece = self._piece(parent, name, path, url)
                found += [piece, *self.below(piece)]
        return found

    def additions(self) -> list[Piece]:
        """What the overrides put in where no submodule is; refuses wishes that were not met."""
        pieces = []
        for path, override in sorted(self._recipe.overrides.items()):
            if path in self._seen:
                continue
            if not (override.url and override.ref):
                raise self._stranger(path, "submodule_overrides")
            cache = self._access.cache(override.url)
            commit = self._obtain(cache, path, override.ref)
            pieces.append(Piece(path, cache, override.ref, commit, None))
        for path in self._recipe.submodules or ():
            if path not in self._seen and path not in self._recipe.overrides:
                raise self._stranger(path, "submodules")
        return pieces

    def _is_wanted(self, path: str) -> bool:
        return self._recipe.submodules is None or path in self._recipe.submodules

    def _piece(self, parent: Piece, name: str, path: str, url: str) -> Piece:
        pinned = _pin(parent, name, path)
        override = self._recipe.overrides.get(path, Override())
        cache = self._access.cache(override.url or mirrors.resolved(url, parent.cache.url))
        ref = override.ref or pinned
        return Piece(path, cache, ref, self._obtain(cache, path, ref), pinned)

    def _obtain(self, cache: GitCache, path: str, ref: str) -> str:
        try:
            return cache.obtain(ref, offline=self._access.offline)
        except NotCachedError:
            raise
        except BuildError as error:
            raise BuildError(
                f"submodule {path}: {error}; another commit or place can stand in:"
                f" submodule_overrides: {{{path}: {{url: …, ref: …}}}}"
            ) from error

    def _stranger(self, path: str, option: str) -> BuildError:
        there = ", ".join(sorted(self._seen)) or "none"
        return BuildError(
            f"{option}: {self._recipe.label} has no submodule {path} (it has: {there}); name one of"
            " them, or give url and ref in submodule_overrides to put a repository in at that path"
        )


def _declared(parent: Piece) -> dict[str, str]:
    """Path → URL of the submodules that ``.gitmodules`` declares; empty without that file."""
    argv = ["config", f"--blob={parent.commit}:.gitmodules", "--null", "--get-regexp"]
    try:
        text = parent.cache.git(*argv, r"^submodule\..*\.(path|url)$")
    except GitError:
        return {}
    values: dict[str, dict[str, str]] = {}
    for entry in text.split("\0"):
        key, _, value = entry.partition("\n")
        name, _, field = key.rpartition(".")
        values.setdefault(name, {})[field] = value
    pairs = [(found.get("path"), found.get("url")) for found in values.values()]
    return {path: url for path, url in pairs if path and url and not _leads_out(path)}


def _leads_out(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _pin(parent: Piece, name: str, path: str) -> str:
    """The commit that the parent's tree names; ls-tree prints mode, ``commit``, hash, path."""
    words = parent.cache.git("ls-tree", parent.commit, "--", name).split()
    if len(words) < 3 or words[1] != "commit":  # noqa: PLR2004 mode, type, hash
        raise BuildError(
            f"submodule {path}: declared in .gitmodules of {parent.cache.where} at {parent.commit},"
            " but its tree pins no commit; give url and ref in submodule_overrides"
        )
    return words[2]


def export(pieces: list[Piece], folder: Path) -> None:
    """Write the tree of all pieces below ``folder``, which is empty."""
    for piece in pieces:
        target = folder / piece.path
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="nvmelab-index-") as scratch:
            index = {"GIT_INDEX_FILE": f"{scratch}/index", "GIT_WORK_TREE": str(target)}
            for words in (["read-tree", piece.commit], ["checkout-index", "--all", "--force"]):
                run_git(
                    words,
                    deadline=piece.cache.deadline,
                    git_dir=piece.cache.git_dir,
                    environment=index,
                )
