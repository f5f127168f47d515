# SPDX-License-Identifier: GPL-3.0-or-later
"""The module guest_image, run as Ansible runs it, as far as it goes without a build."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.image.cloud_image import CloudImage
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_image import DebianImage
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import lab_keys, make
from ansible_collections.nvmelab.bench.plugins.modules import guest_image

DEFAULTS = {name: spec.get("default") for name, spec in guest_image.ARGUMENTS.items()}


run = functools.partial(run_module, guest_image)


def test_check_mode_on_a_fresh_host(tmp_path: Path) -> None:
    """A change is foretold, nothing fails and nothing is made."""
    result = run(root=str(tmp_path / "lab"), _ansible_check_mode=True)
    assert (result["changed"], result["built"], result["image"]) == (True, False, None)
    assert not (tmp_path / "lab").exists()


def test_check_mode_beside_keys(tmp_path: Path) -> None:
    """With keys there the image's digest is known and shown, but still nothing is made."""
    make(lab_keys(tmp_path))
    result = run(root=str(tmp_path), _ansible_check_mode=True)
    (shown,) = result["diff"]
    assert shown["before"] == ""
    assert re.fullmatch(r"debian-bookworm-[0-9a-f]{12}\n", shown["after"])
    assert (result["changed"], result["image"]) == (True, None)
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_without_keys_it_fails_with_the_next_step(tmp_path: Path) -> None:
    """The message of the core arrives."""
    result = run(root=str(tmp_path))
    assert result["failed"] is True
    assert "run the module lab_keys first" in result["msg"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"image_url": "https://e.org/i.qcow2"}, "image_url, image_sha256"),
        ({"image_url": "gopher://e.org/i", "image_sha256": "0" * 64}, "scheme 'gopher'"),
        ({"suite": "bookworm; rm"}, "no Debian code name"),
        ({"accelerator": "magic"}, "tcg, kvm"),
    ],
)
def test_bad_input_is_refused_before_anything_is_touched(
    tmp_path: Path, params: dict[str, str], message: str
) -> None:
    """Key, value found and value wanted; the lab directory is not even made."""
    result = run(root=str(tmp_path / "lab"), **params)
    assert result["failed"] is True
    assert message in result["msg"]
    assert not (tmp_path / "lab").exists()


def test_the_source_follows_the_url() -> None:
    """An URL makes it a cloud image, none a build; packages reach both."""
    built = guest_image.source_of(DEFAULTS)
    assert isinstance(built, DebianImage)
    assert built.suite == "bookworm"
    cloud = guest_image.source_of(
        {**DEFAULTS, "image_url": "https://e.org/i", "image_sha256": "0" * 64}
    )
    assert isinstance(cloud, CloudImage)
    assert cloud.packages == built.packages
