# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings builds of the lab host into a guest, to the very paths that they have on the lab host.

They were configured for those paths, and find each other's libraries by them. Of the host's own
libraries a guest gets those that it lacks; what it has is kept. The guest's root disk is thrown
away with the guest, so this is done after every boot.
"""

from __future__ import annotations

import glob
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import SshTarget

# What is built with, not run with.
EXCLUDED = ("*.a", "*.log", "include", "man", "pkgconfig", "share")
UNPACK_S = 120.0
# To decrypt all of it takes a guest under TCG longer than to decrypt less and to unpack that.
PACKER = "--use-compress-program=gzip -1"
# uPCIe's own, for whoever works in a guest by hand: found there by their names.
TOOLS = ("devbind", "hugepages")
_IN_PATH = "usr/local/bin"
UNPACK = ("tar", "--extract", "--gzip", "--file=-", "--no-same-owner", "--skip-old-files")


class GuestPayloadError(NvmelabError):
    """The builds did not get into the guest."""


def paths_of(payload: Mapping[str, Any], programs: Sequence[str] = ()) -> list[str]:
    """Return what is packed: what all guests get, and these programs, with their libraries."""
    wanted = [payload["programs"][name] for name in programs if name in payload["programs"]]
    of_fio = (payload.get("fio") or {}).get("libraries", ())
    libraries = [*of_fio, *(path for one in wanted for path in one["libraries"])]
    links = [step for path in dict.fromkeys(libraries) for step in _way_to(path)]
    return [*payload["paths"], *(one["path"] for one in wanted), *dict.fromkeys(links)]


def _way_to(library: str) -> Iterator[str]:
    """Yield the links that a library's name is, and the file that they lead to."""
    path = Path(library)
    yield str(path)
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield str(path)


def pack_argv(paths: Sequence[str], links: Sequence[str] = ()) -> list[str]:
    """Return the command that writes an archive of these paths, and ``links``, to its stdout."""
    names = [path.lstrip("/") for path in paths]
    # Below these paths only: the lab directory itself may lie in a folder named share.
    excludes = [
        f"--exclude={glob.escape(name)}/{depth}{pattern}"
        for name in names
        for pattern in EXCLUDED
        for depth in ("", "*/")
    ]
    how = ["--create", PACKER, "--file=-", "--anchored", "--wildcards"]
    return ["tar", *how, *excludes, *links, "--directory=/", "--", *names]


def link_tools(paths: Sequence[str], folder: Path) -> list[str]:
    """Make links to the tools in these builds below a folder; tar's words that add them."""
    tools = [Path(path, "bin", name) for path in paths for name in TOOLS]
    links = {f"{_IN_PATH}/{tool.name}": tool for tool in tools if tool.is_file()}
    (folder / _IN_PATH).mkdir(parents=True)
    for name, tool in links.items():
        (folder / name).symlink_to(tool)
    return [f"--directory={folder}", *links] if links else []


def send(
    payload: Mapping[str, Any],
    ssh: SshTarget,
    *,
    programs: Sequence[str] = (),
    deadline_s: float = UNPACK_S,
) -> None:
    """Unpack the payload in the guest, with those of its programs that are used there.

    Raises:
        GuestPayloadError: what tar, here or there, said last.
    """
    paths = paths_of(payload, programs)
    if not paths:
        return
    unpack = ssh.argv([*UNPACK, "--directory=/"])
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory() as links:
        pack = pack_argv(paths, link_tools(payload["paths"], Path(links)))
        with subprocess.Popen(
            pack, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as packing:
            try:
                done = subprocess.run(
                    unpack, stdin=packing.stdout, capture_output=True, check=False,
                    timeout=deadline_s,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                packing.kill()
                raise GuestPayloadError(f"not unpacked within {deadline_s:.0f} s") from error
            if packing.stdout:
                packing.stdout.close()
        said.seek(0)
        for code, text in ((done.returncode, done.stderr), (packing.returncode, said.read())):
            if code:
                lines = text.decode("utf-8", "replace").strip().splitlines() or [f"exit {code}"]
                raise GuestPayloadError(lines[-1])
