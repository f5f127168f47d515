# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH keys of a lab host: the lab's own pair and its guests' host key.

Made once per lab host and never overwritten: a key that changes locks out every guest image
that was built with it. The known_hosts entry bears an alias, not an address, since a guest is
reached at whatever local port was free: connect with ``-o HostKeyAlias=nvmelab-guest``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

HOST_KEY_ALIAS = "nvmelab-guest"
LAB_KEY = "id_ed25519"
HOST_KEY = "guest_host_ed25519"


class LabKeysError(NvmelabError):
    """The keys cannot be made, or what lies there is not a whole key pair."""


@dataclass(frozen=True)
class LabKeys:
    """Where the keys of one lab host lie; all below one directory of mode 0700."""

    directory: Path

    @property
    def private_key(self) -> Path:
        """The key that logs in to guests."""
        return self.directory / LAB_KEY

    @property
    def public_key(self) -> Path:
        """What a guest's authorized_keys holds."""
        return self.directory / f"{LAB_KEY}.pub"

    @property
    def host_private_key(self) -> Path:
        """The key by which every guest of this lab host proves itself."""
        return self.directory / HOST_KEY

    @property
    def host_public_key(self) -> Path:
        """The public half of the guests' host key."""
        return self.directory / f"{HOST_KEY}.pub"

    @property
    def known_hosts(self) -> Path:
        """The one entry ssh needs to know a guest, under HOST_KEY_ALIAS."""
        return self.directory / "known_hosts"

    @property
    def pairs(self) -> tuple[tuple[Path, Path], ...]:
        """Both pairs as (private, public)."""
        return (
            (self.private_key, self.public_key),
            (self.host_private_key, self.host_public_key),
        )

    def as_dict(self) -> dict[str, str]:
        """The paths as text, for a module's result."""
        return {
            "directory": str(self.directory),
            "private_key": str(self.private_key),
            "public_key": str(self.public_key),
            "host_private_key": str(self.host_private_key),
            "host_public_key": str(self.host_public_key),
            "known_hosts": str(self.known_hosts),
            "host_key_alias": HOST_KEY_ALIAS,
        }


def lab_keys(root: Path) -> LabKeys:
    """Where the keys of the lab directory ``root`` lie, made or not."""
    return LabKeys(root / "keys")


def missing(keys: LabKeys) -> list[str]:
    """The names of what is still to be made or set right; empty when all is there.

    Raises:
        LabKeysError: half a pair; making a new one would lock out the images built with the old.
    """
    wanted = []
    if not _has_mode(keys.directory, 0o700):
        wanted.append("directory")
    for private, public in keys.pairs:
        if private.exists() != public.exists():
            found, lost = (private, public) if private.exists() else (public, private)
            raise LabKeysError(
                f"{keys.directory}: {found.name} is there but {lost.name} is not;"
                f" put {lost.name} back, or remove both for a new pair"
                " (guest images are then built anew)"
            )
        if not _has_mode(private, 0o600):
            wanted.append(private.name)
    entry = _entry(keys)
    if entry is None or _text(keys.known_hosts) != entry:
        wanted.append(keys.known_hosts.name)
    return wanted


def make(keys: LabKeys, *, ssh_keygen: str = "ssh-keygen") -> list[str]:
    """Make what is missing; the names of what was made or set right.

    Raises:
        LabKeysError: ssh-keygen is absent or fails, half a pair, a directory not writable.
    """
    wanted = missing(keys)
    try:
        keys.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys.directory.chmod(0o700)
        for private, public in keys.pairs:
            if not private.exists():
                _make_pair(private, public, ssh_keygen)
            private.chmod(0o600)
        if keys.known_hosts.name in wanted:
            _replace(keys.known_hosts, _entry(keys) or "")  # there by now: made above
    except OSError as error:
        raise LabKeysError(
            f"{keys.directory}: cannot make {', '.join(wanted)}: {error.strerror}"
            f" ({error.filename}); make the folder writable"
        ) from error
    return wanted


def _make_pair(private: Path, public: Path, ssh_keygen: str) -> None:
    """Make a pair in a folder of its own; the private half arrives last, so a pair is whole."""
    if shutil.which(ssh_keygen) is None:
        raise LabKeysError(f"{ssh_keygen} is not there; install the package openssh-client")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=private.parent) as folder:
        fresh = Path(folder, private.name)
        argv = [ssh_keygen, "-q", "-t", "ed25519", "-N", "", "-C", "nvmelab", "-f", str(fresh)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabKeysError(
                f"{ssh_keygen} ended with status {done.returncode} while making {private}:"
                f" {done.stderr.strip()}"
            )
        Path(f"{fresh}.pub").replace(public)
        fresh.replace(private)


def _entry(keys: LabKeys) -> str | None:
    """The text known_hosts must have; None while there is no host key."""
    public = _text(keys.host_public_key)
    if public is None:
        return None
    return f"{HOST_KEY_ALIAS} {' '.join(public.split()[:2])}\n"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _has_mode(path: Path, mode: int) -> bool:
    try:
        return path.stat().st_mode & 0o777 == mode
    except FileNotFoundError:
        return False


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
