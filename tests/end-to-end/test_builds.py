# SPDX-License-Identifier: GPL-3.0-or-later
"""What of playbooks/builds.yml a lab host without an archive cannot show: the packages.

The stack itself is built in the scenario `stack`, from the same small repositories.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from upstream_fakes import Hub
from user_commands import UserCommands


@dataclass(frozen=True)
class Builds:
    """A lab directory, and the hub that it builds from."""

    commands: UserCommands
    hub: Hub
    root: Path

    def play(self, *products: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """What builds.yml answers."""
        usual = {
            "nvmelab_root": str(self.root),
            "nvmelab_mirrors": {"https://github.com/": f"{self.hub.folder}/"},
            "nvmelab_builds": list(products),
        }
        words = ["-i", "inventories/lab", "-e", json.dumps({**usual, **variables})]
        return self.commands.run(["ansible-playbook", "playbooks/builds.yml", *words])


@pytest.fixture
def builds(checkout: Path, tmp_path: Path) -> Builds:
    """A lab of a test's own."""
    return Builds(UserCommands(checkout), Hub(tmp_path / "hub"), tmp_path / "lab")


def test_nothing_is_built_unasked(builds: Builds) -> None:
    """Of a bare machine that nobody asks nothing is wanted."""
    done = builds.play()
    assert done.returncode == 0, done.stdout
    assert re.search(r"localhost +: .*changed=0 ", done.stdout), done.stdout
    assert not builds.root.exists()


def test_an_unknown_product_is_named(builds: Builds) -> None:
    """Beside one that is known, before that is built."""
    done = builds.play("spdk", "dpdk")
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stdout.split())
    assert "found spdk, dpdk, wanted some of spdk, upcie, xnvme, fio, qemu" in said
    assert not builds.root.exists()


def test_a_build_installs_what_it_needs(builds: Builds, checkout: Path) -> None:
    """It takes the distribution's tools; and what other roles would install is to be had."""
    builds.hub.upcie()
    done = builds.play("upcie", upcie_ref="v0.3.2", upcie_tools_ref="v0.3.2")
    assert done.returncode == 0, done.stdout[-6000:]
    (devbind,) = builds.root.glob("builds/upcie/v0.3.2-*/bin/devbind")
    answer = subprocess.run([devbind, "--help"], capture_output=True, text=True, check=True)
    assert "--bind" in answer.stdout
    # Where nothing lacked, the role did not ask the archive what there is.
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    argv = ["apt-get", "install", "--simulate", "--no-install-recommends", *_packages(checkout)]
    simulated = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert simulated.returncode == 0, simulated.stderr


def _packages(checkout: Path) -> list[str]:
    """All Debian packages that roles install unless told otherwise."""
    found: set[str] = set()
    for path in checkout.glob("roles/*/defaults/main.yml"):
        for name, value in (yaml.safe_load(path.read_text("utf-8")) or {}).items():
            if name.endswith("_packages"):
                found |= set(value.values() if isinstance(value, dict) else value)
    assert {"nasm", "fio", "qemu-system-x86"} <= found
    return sorted(found)
