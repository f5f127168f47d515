# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings builds of the lab host into a guest, to the very paths that they have on the lab host.

They were configured for those paths, and find each other's libraries by them. The guest's root
disk is thrown away with the guest, so this is done after every boot.
"""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, Mapping

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import SshTarget

# What is built with, not run with.
EXCLUDED = ("*.a", "*.log", "include", "man", "pkgconfig", "share")
UNPACK_S = 120.0


class GuestPayloadError(NvmelabError):
    """The builds did not get into the guest."""


def pack_argv(payload: Mapping[str, Any]) -> list[str]:
    """Return the command that writes the payload's archive to its stdout."""
    excludes = [f"--exclude={pattern}" for pattern in EXCLUDED]
    paths = [path.lstrip("/") for path in payload["paths"]]
    return ["tar", "--create", "--file=-", "--directory=/", *excludes, "--", *paths]


def send(payload: Mapping[str, Any], ssh: SshTarget, *, deadline_s: float = UNPACK_S) -> None:
    """Unpack the payload in the guest.

    Raises:
        GuestPayloadError: what tar, here or there, said last.
    """
    unpack = ssh.argv(["tar", "--extract", "--file=-", "--directory=/", "--no-same-owner"])
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            pack_argv(payload), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
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
