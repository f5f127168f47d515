# SPDX-License-Identifier: GPL-3.0-or-later
"""Small real git repositories, and a product in them that is built in milliseconds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Notes each time it runs, so that a test can count: it stands for what takes minutes.
CONFIGURE = """#!/bin/sh
set -eu
for argument; do case "$argument" in --prefix=*) prefix=${argument#--prefix=};; esac; done
echo "prefix = $prefix" > config.mk
echo "configured with $*, GREETING ${GREETING:-none}"
echo run >> "${COUNTER:-/dev/null}"
"""
MAKEFILE = """include config.mk
all: greet
greet: greet.in
\tsed "s!@PREFIX@!$(prefix)!" greet.in > greet && chmod 755 greet
install: all
\tmkdir -p $(prefix)/bin && cp greet $(prefix)/bin/
"""
GREET = "#!/bin/sh\n# lives at @PREFIX@\necho greet 1.0\necho to all\n"
PRODUCT = {"configure": CONFIGURE, "Makefile": MAKEFILE, "greet.in": GREET}


@dataclass(frozen=True)
class Origin:
    """A repository that others fetch from."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """What git prints."""
        identity = {
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            env={**os.environ, **identity},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def commit(self, files: Mapping[str, str], *, tag: str = "") -> str:
        """The hash of a new commit that adds or changes files, and carries a tag if one is named.

        Files that begin with ``#!`` may be run.
        """
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755 if text.startswith("#!") else 0o644)
        self.git("add", "--all", *files)
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        if tag:
            self.git("tag", "--annotate", f"--message={tag}", "--force", tag)
        return self.git("rev-parse", "HEAD")

    def submodule(self, path: str, url: str, commit: str) -> None:
        """Name a submodule; it is pinned by the next commit."""
        self.git("config", "--file=.gitmodules", f"submodule.{path}.path", path)
        self.git("config", "--file=.gitmodules", f"submodule.{path}.url", url)
        self.git("add", ".gitmodules")
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")


def origin(folder: Path) -> Origin:
    """An empty repository."""
    folder.mkdir(parents=True)
    made = Origin(folder)
    made.git("init", "--quiet", "--initial-branch=main", "--template=")
    return made


def product(folder: Path, *, tag: str = "greet-1.0") -> Origin:
    """A repository with a product that says ``greet 1.0`` once it is installed."""
    made = origin(folder)
    made.commit(PRODUCT, tag=tag)
    return made
