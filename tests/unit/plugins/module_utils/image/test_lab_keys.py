# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a lab host: made once, whole, closed to others, and known to ssh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import (
    HOST_KEY_ALIAS,
    LabKeysError,
    lab_keys,
    make,
    missing,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_keys_are_made_once(tmp_path: Path) -> None:
    """A second call makes nothing and alters no byte."""
    keys = lab_keys(tmp_path)
    assert make(keys) == ["directory", "id_ed25519", "guest_host_ed25519", "known_hosts"]
    before = contents(keys.directory)
    assert make(keys) == []
    assert contents(keys.directory) == before


def test_asking_changes_nothing(tmp_path: Path) -> None:
    """What is missing on a fresh host is told without making it (check mode)."""
    keys = lab_keys(tmp_path)
    assert missing(keys) == ["directory", "id_ed25519", "guest_host_ed25519", "known_hosts"]
    assert list(tmp_path.iterdir()) == []


def test_others_cannot_read_them(tmp_path: Path) -> None:
    """Private keys are 0600 in a folder of 0700, also when somebody had opened them up."""
    keys = lab_keys(tmp_path)
    make(keys)
    keys.directory.chmod(0o755)
    keys.private_key.chmod(0o644)
    assert make(keys) == ["directory", "id_ed25519"]
    assert keys.directory.stat().st_mode & 0o777 == 0o700
    assert keys.private_key.stat().st_mode & 0o777 == 0o600
    assert keys.host_private_key.stat().st_mode & 0o777 == 0o600


def test_ssh_finds_the_guest_by_its_alias(tmp_path: Path) -> None:
    """ssh-keygen, reading known_hosts as ssh does, finds the host key under the alias."""
    keys = lab_keys(tmp_path)
    make(keys)
    argv = ["ssh-keygen", "-F", HOST_KEY_ALIAS, "-f", str(keys.known_hosts)]
    found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert keys.host_public_key.read_text().split()[1] in found


def test_the_halves_of_a_pair_fit(tmp_path: Path) -> None:
    """The public key on disk is the one that belongs to the private key."""
    keys = lab_keys(tmp_path)
    make(keys)
    for private, public in keys.pairs:
        argv = ["ssh-keygen", "-y", "-f", str(private)]
        derived = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert derived.split()[:2] == public.read_text().split()[:2]


@pytest.mark.parametrize("lost", ["id_ed25519", "id_ed25519.pub", "guest_host_ed25519"])
def test_half_a_pair_is_refused(tmp_path: Path, lost: str) -> None:
    """A lost half is named and the other half is kept: replacing it would lock out all images."""
    keys = lab_keys(tmp_path)
    make(keys)
    (keys.directory / lost).unlink()
    before = contents(keys.directory)
    with pytest.raises(LabKeysError, match=rf"{lost} is not|but {lost} "):
        make(keys)
    assert contents(keys.directory) == before


def test_a_missing_tool_is_named_with_its_package(tmp_path: Path) -> None:
    """Without ssh-keygen the message says what to install, and no half pair is left."""
    keys = lab_keys(tmp_path)
    with pytest.raises(LabKeysError, match="openssh-client"):
        make(keys, ssh_keygen="no-such-ssh-keygen")
    assert list(keys.directory.iterdir()) == []


def test_a_failing_tool_leaves_no_half_pair(tmp_path: Path) -> None:
    """When ssh-keygen fails its words are passed on and nothing stays."""
    keys = lab_keys(tmp_path)
    failing = tmp_path / "ssh-keygen"
    failing.write_text("#!/bin/sh\necho no entropy >&2\nexit 3\n")
    failing.chmod(0o755)
    with pytest.raises(LabKeysError, match=r"status 3.*no entropy"):
        make(keys, ssh_keygen=str(failing))
    assert list(keys.directory.iterdir()) == []
