# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles qemu, guest_image and guest left, asked of the host itself (scenario guest)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

ROOT = "/var/lib/nvmelab"


def image(host: Host) -> dict[str, Any]:
    """What the image that guests start from says of itself."""
    loaded: dict[str, Any] = json.loads(host.file(f"{ROOT}/images/current/image.json").content)
    return loaded


@pytest.mark.parametrize("program", ["qemu-system-x86_64", "qemu-storage-daemon", "mmdebstrap"])
def test_programs_are_the_distribution_s(host: Host, program: str) -> None:
    """Each is on PATH and of an installed package, as dpkg knows it."""
    path = host.check_output(f"command -v {program}")
    package = host.check_output(f"dpkg-query --search {path}").partition(":")[0]
    assert host.package(package).is_installed


def test_one_image_is_there_and_whole(host: Host) -> None:
    """Of the build that failed its log alone is there; `current` leads to the one that did not."""
    names = host.check_output(f"ls {ROOT}/images").split()
    current, folder, log = sorted(names)
    assert (current, log.partition("-")[2].partition("-")[0]) == ("current", "trixie")
    assert log.endswith(".failed.log")
    assert host.file(f"{ROOT}/images/current").linked_to == f"{ROOT}/images/{folder}"
    parts = host.check_output(f"ls -A {ROOT}/images/{folder}").split()
    assert sorted(parts) == ["build.log", "disk.raw", "image.json", "kernel"]


def test_the_image_has_what_was_asked_for(host: Host) -> None:
    """What no guest can do without, and not the packages that the scenario left out."""
    packages = image(host)["packages"]
    assert {"fio", "openssh-server", "python3"} <= packages.keys()
    assert not {"nvme-cli", "pciutils"} & packages.keys()


def test_the_guest_wrote_nothing_to_the_image(host: Host) -> None:
    """Its disk is older than the image's description, which was written before any guest."""
    folder = image(host)["directory"]
    assert host.check_output(f"find {folder} -newer {folder}/image.json -name disk.raw") == ""


@pytest.mark.parametrize("name", ["id_ed25519", "guest_host_ed25519"])
def test_private_keys_are_private(host: Host, name: str) -> None:
    """Only root reads them."""
    key = host.file(f"{ROOT}/keys/{name}")
    assert (key.user, key.mode) == ("root", 0o600)


def test_nothing_is_left_of_the_guest(host: Host) -> None:
    """No process, socket or record: neither of the one that ran, nor of those that could not."""
    assert host.process.filter(comm="qemu-system-x86") == []
    left = host.check_output(f"find {ROOT}/guests -type f -o -type s").splitlines()
    assert {path.rpartition("/")[2] for path in left} == {"guest.qemu.log", "guest.serial.log"}


def test_the_control_node_forgot_the_key(host: Host) -> None:
    """With the guest goes the folder by which Ansible reached it."""
    assert not Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "access").exists()
