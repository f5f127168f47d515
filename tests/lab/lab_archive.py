#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Debian archive in a folder, for a lab host that reaches no other.

It holds the packages that are named, those of every guest image, and all that they depend on, as
this machine's apt finds them. Trusted by its place, so it is not signed:
``deb [trusted=yes] copy:PLACE bookworm main``.

usage: lab_archive.py PLACE PACKAGE…
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab_host import LabError
from lab_image import SUITE

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image import debian_archive
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_image import (
    REQUIRED_PACKAGES,
)

# mmdebstrap installs these anyway. Of two that make /usr merged it takes the one without perl.
EVERY_SYSTEM = ("?essential", "usr-is-merged")
# An apt of its own, on which nothing is installed: so it fetches all that is depended on.
APT_CONF = """\
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Install-Recommends "false";
Dir "{work}";
Dir::State "{work}";
Dir::State::status "{work}/status";
Dir::Cache "{work}";
Dir::Log "{work}";
Dir::Etc "{work}";
Dir::Etc::parts "{work}";
Debug::NoLocking "true";
"""
# By its suite mmdebstrap tells which packages are essential.
RELEASE = """\
Origin: Debian
Suite: {suite}
Codename: {suite}
Architectures: amd64
Components: main
SHA256:
 {checksum}
"""


def fetch(work: Path, packages: list[str]) -> list[Path]:
    """Have apt fetch the packages and all that they depend on; the files that it fetched."""
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    sources, options = debian_archive.host_archive(SUITE)
    lines = [source.line() for source in debian_archive.place_keys(sources, work)]
    (work / "sources.list").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (work / "conf").write_text(APT_CONF.format(work=work) + options, encoding="utf-8")
    run(["apt-get", "--quiet", "update"], work)
    run(["apt-get", "--quiet", "--yes", "--download-only", "install", *packages], work)
    return sorted((work / "archives").glob("*.deb"))


def run(argv: list[str], work: Path) -> str:
    """What a command prints, apt being the one of ``work``.

    Raises:
        LabError: it failed; with what it said.
    """
    environment = {**os.environ, "APT_CONFIG": str(work / "conf"), "LC_ALL": "C"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def stanza(package: Path, work: Path) -> str:
    """A package's entry in the archive's index."""
    checksum = hashlib.sha256(package.read_bytes()).hexdigest()
    control = run(["dpkg-deb", "--field", str(package)], work)
    place = f"Filename: pool/{package.name}\nSize: {package.stat().st_size}\n"
    return f"{control.rstrip()}\n{place}SHA256: {checksum}\n"


def make(place: Path, packages: list[str]) -> None:
    """Make the archive at ``place``, where none is; apt's own files stay in ``place``/apt."""
    work = place / "apt"
    found = fetch(work, [*EVERY_SYSTEM, *REQUIRED_PACKAGES, *packages])
    suite, name = place / "dists" / SUITE, "main/binary-amd64/Packages"
    text = "\n".join(stanza(package, work) for package in found)
    (suite / name).parent.mkdir(parents=True)
    (suite / name).write_text(text, encoding="utf-8")
    checksum = f"{hashlib.sha256(text.encode()).hexdigest()} {len(text.encode())} {name}"
    (suite / "Release").write_text(RELEASE.format(suite=SUITE, checksum=checksum), encoding="utf-8")
    (work / "archives").rename(place / "pool")
    shutil.rmtree(work)


def main() -> int:
    """Make it; 1 with one line on stderr when that fails."""
    match sys.argv[1:]:
        case [place, *packages] if packages:
            try:
                make(Path(place).resolve(), packages)
            except (NvmelabError, LabError, OSError) as error:
                print(f"lab_archive: {error}", file=sys.stderr)  # noqa: T201
                return 1
            return 0
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main())
