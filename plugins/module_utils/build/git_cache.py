# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare cache of one git repository: what was fetched once is never fetched again.

Only the commit that is asked for is fetched (``--depth=1``). A tag is resolved where it was
seen first: one that is moved upstream afterwards is not followed unasked.
"""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.build import mirrors
from ansible_collections.nvmelab.bench.plugins.module_utils.build.errors import (
    BuildError,
    NotCachedError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.git import (
    UPLOAD_PACK,
    GitError,
    run_git,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.build.locks import locked
from ansible_collections.nvmelab.bench.plugins.module_utils.build.recipe import FULL_HASH

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.build.deadline import Deadline

SHORT_HASH = re.compile(r"[0-9a-f]{7,39}")
EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True)
class GitCache:
    """The cache of ``url``, filled from ``place``, its mirror or itself."""

    git_dir: Path
    url: str
    place: str
    deadline: Deadline

    @classmethod
    def of(cls, folder: Path, url: str, place: str, deadline: Deadline) -> GitCache:
        """The cache of a URL among those in ``folder``."""
        return cls(folder / f"{mirrors.cache_name(url)}.git", url, place, deadline)

    @property
    def where(self) -> str:
        """URL and mirror for messages."""
        url, place = mirrors.redacted(self.url), mirrors.redacted(self.place)
        return url if url == place else f"{url} (mirror {place})"

    def git(self, *arguments: str) -> str:
        """What git prints about the cache."""
        return run_git(arguments, deadline=self.deadline, git_dir=self.git_dir)

    def find(self, ref: str) -> Optional[str]:
        """The full hash of a tag or commit that is in the cache; None when it is not."""
        if not self.git_dir.is_dir():
            return None
        names = [] if FULL_HASH.fullmatch(ref) else [f"refs/tags/{ref}"]
        names += [ref] if FULL_HASH.fullmatch(ref) or SHORT_HASH.fullmatch(ref) else []
        for name in names:
            try:
                return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
            except GitError:
                continue
        return None

    def obtain(self, ref: str, *, offline: bool = False, refresh: bool = False) -> str:
        """The full hash of a tag or commit, after fetching it if the cache lacks it.

        Raises:
            NotCachedError: it would have to be fetched, and ``offline`` forbids that.
            BuildError: there is no such tag or commit, or the repository cannot be reached.
        """
        found = None if refresh and not FULL_HASH.fullmatch(ref) else self.find(ref)
        if found:
            return found
        if offline:
            raise NotCachedError(
                f"{ref} of {self.where} is not in the cache {self.git_dir}, and offline forbids to"
                " fetch it; run once with offline: false, or copy that folder from another host"
            )
        lock = self.git_dir.with_suffix(".lock")
        with locked(lock, deadline=self.deadline, doing=f"fetching {self.where}"):
            found = None if refresh else self.find(ref)
            if not found:
                self._make()
                self._fetch(ref)
        found = found or self.find(ref)
        if not found:
            raise BuildError(f"{ref}: no such tag or commit in {self.where}{self._nearest(ref)}")
        return found

    def peek(self, ref: str) -> Optional[str]:
        """The full hash that a tag has at the source, by a look that writes nothing."""
        kind, commit = self._remote(ref)
        if kind == "branch":
            raise self._branch_error(ref, commit)
        return commit

    def _make(self) -> None:
        """Make an empty cache, whole or not at all; take away the locks of a fetch that died."""
        if not self.git_dir.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.git_dir.parent))
            try:
                run_git(["init", "--quiet", "--bare", str(fresh)], deadline=self.deadline)
                fresh.chmod(0o755)
                fresh.rename(self.git_dir)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        for stale in self.git_dir.rglob("*.lock"):
            stale.unlink()

    def _fetch(self, ref: str) -> None:
        if FULL_HASH.fullmatch(ref):
            self._fetch_commit(ref)
            return
        kind, commit = self._remote(ref)
        if kind == "branch":
            raise self._branch_error(ref, commit)
        if kind == "tag":
            self._fetch_specs("--depth=1", f"+refs/tags/{ref}:refs/tags/{ref}")
        elif SHORT_HASH.fullmatch(ref):
            self._fetch_specs(*EVERYTHING)

    def _fetch_commit(self, commit: str) -> None:
        """Fetch one commit by its hash; from a server that refuses hashes, everything."""
        try:
            self._fetch_specs("--depth=1", f"+{commit}:refs/nvmelab/{commit}")
        except GitError as error:
            if not re.search(r"not our ref|unadvertised object|no such remote ref", error.reason):
                raise
            self._fetch_specs(*EVERYTHING)

    def _fetch_specs(self, *words: str) -> None:
        argv = ["fetch", "--quiet", "--no-tags", "--force", *self._upload_pack()]
        depth = [word for word in words if word.startswith("--")]
        specs = [word for word in words if not word.startswith("--")]
        if not depth and (self.git_dir / "shallow").exists():
            depth = ["--unshallow"]
        try:
            self.git(*argv, *depth, self.place, *specs)
        except GitError as error:
            raise self._unreachable(error) from error

    def _upload_pack(self) -> list[str]:
        return [f"--upload-pack={UPLOAD_PACK}"] if mirrors.is_local(self.place) else []

    def _unreachable(self, error: GitError) -> GitError:
        return GitError(
            f"{self.where} cannot be fetched: {error.reason}; give a reachable copy in mirrors, or"
            " an archive of the build in from_archive",
            error.reason,
        )

    def _remote(self, ref: str) -> tuple[str, Optional[str]]:
        """``tag``, ``branch`` or ``none`` at the source, and the commit; tags win, as in git."""
        names = (f"refs/tags/{ref}", f"refs/tags/{ref}^{{}}", f"refs/heads/{ref}")
        found = self._listed(*names)
        for name in (names[1], names[0]):
            if name in found:
                return "tag", found[name]
        return ("branch", found[names[2]]) if names[2] in found else ("none", None)

    def _listed(self, *patterns: str) -> dict[str, str]:
        argv = ["ls-remote", "--quiet", *self._upload_pack(), self.place, *patterns]
        try:
            text = run_git(argv, deadline=self.deadline)
        except GitError as error:
            raise self._unreachable(error) from error
        rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
        return {name: commit for commit, name in rows}

    def _branch_error(self, ref: str, commit: Optional[str]) -> BuildError:
        return BuildError(
            f"{ref} is a branch of {self.where}, which moves; pin a tag or a commit, today's is"
            f" {commit}"
        )

    def _nearest(self, ref: str) -> str:
        """What else ``ref`` may have meant."""
        prefix = "refs/tags/"
        names = self._listed(f"{prefix}*")
        tags = [name[len(prefix) :] for name in names if not name.endswith("^{}")]
        near = difflib.get_close_matches(ref, tags, n=3, cutoff=0.5)
        if near:
            return f"; the nearest tags are {', '.join(near)}"
        return f"; it has {len(tags)} tags, none like it"
