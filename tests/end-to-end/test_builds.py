# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/builds.yml on repositories shaped like those of the headline stack.

The roles install their tools and give their real commands; only the sources are small.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from upstream_fakes import Hub, hub
from user_commands import UserCommands

# The sets pin real commits, so that tags have to be named here.
REFS = {
    "fio_ref": "fio-3.40", "spdk_ref": "v25.05", "spdk_fio_ref": "fio-3.40", "upcie_ref": "v0.3.2",
    "upcie_tools_ref": "v0.3.2", "xnvme_ref": "v0.8.0",
}  # fmt: skip


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
            # Tools only: nothing of these sources needs a library's headers.
            "spdk_packages": ["autoconf", "g++", "make", "meson", "nasm", "ninja-build"],
        }
        words = ["-i", "inventories/lab", "-e", json.dumps({**usual, **variables})]
        return self.commands.run(["ansible-playbook", "playbooks/builds.yml", *words])

    def stamp(self, product: str) -> dict[str, Any]:
        """The stamp of the one build of a product."""
        (path,) = (self.root / "builds" / product).glob("*/build.json")
        loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return loaded


@pytest.fixture(scope="module")
def builds(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builds]:
    """One lab for all: what a test builds is of a product of its own, or fails."""
    folder = tmp_path_factory.mktemp("builds")
    yield Builds(UserCommands(checkout), hub(folder / "hub"), folder / "lab")
    shutil.rmtree(folder)


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """The count of changes in the recap."""
    found = re.search(r"localhost +: .*changed=(\d+)", done.stdout)
    assert found, done.stdout
    return int(found[1])


def message(done: subprocess.CompletedProcess[str]) -> str:
    """The text of a failed task, its line ends taken out."""
    assert done.returncode == 2, done.stdout
    return " ".join(done.stdout.split())


def test_nothing_is_built_unasked(builds: Builds) -> None:
    """Of a bare machine that nobody asks nothing is wanted."""
    done = builds.play()
    assert done.returncode == 0, done.stdout
    assert changed(done) == 0
    assert not builds.root.exists()


def test_fio_without_xnvme_is_refused_before_it_is_built(builds: Builds) -> None:
    """Its configure would go on without the engine, and the build would look fine."""
    done = builds.play("fio", **REFS)
    assert "pkg-config --modversion xnvme ended with status 1: Package xnvme" in message(done)
    assert not list((builds.root / "builds").glob("fio/*/build.json"))


def test_one_command_builds_the_stack(builds: Builds) -> None:
    """All four, fio with the xNVMe that was just built; the second time nothing is done."""
    done = builds.play("spdk", "upcie", "xnvme", "fio", **REFS)
    assert done.returncode == 0, done.stdout[-6000:]
    fio, xnvme, spdk = (builds.stamp(name) for name in ("fio", "xnvme", "spdk"))
    assert f"{fio['prefix']}/bin/fio --enghelp=xnvme" in fio["answers"]
    assert fio["inputs"]["environment"]["LDFLAGS"] == f"-Wl,-rpath,{xnvme['prefix']}/lib"
    assert {item["path"] for item in spdk["submodules"]} == {
        "dpdk", "isa-l", "isa-l-crypto", "libvfio-user", "fio",
    }  # fmt: skip
    log = (Path(spdk["prefix"]) / "build.log").read_text("utf-8")
    assert "# left out --disable-tests:" in log
    assert (Path(spdk["prefix"]) / "python/spdk/__init__.py").exists()
    assert (Path(builds.stamp("upcie")["prefix"]) / "bin/devbind").exists()
    again = builds.play("spdk", "upcie", "xnvme", "fio", **REFS)
    assert again.returncode == 0, again.stdout[-6000:]
    assert changed(again) == 0


@pytest.mark.parametrize(
    ("products", "variables", "words"),
    [
        (["fio"], {}, "found commit {fio}, wanted ff930c4653ae3952d6b09ab3ec89671aeabf2cbe"),
        (["xnvme"], {"nvmelab_pins": "newest"}, "must be one of: reference, current, got: newest"),
        (["spdk", "dpdk"], {}, "found spdk, dpdk, wanted some of spdk, upcie, xnvme, fio, qemu"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    builds: Builds, products: list[str], variables: dict[str, Any], words: str
) -> None:
    """A mirror of something else, an unknown set, an unknown product."""
    commit = subprocess.run(
        ["git", "-C", builds.hub.folder / "axboe/fio", "rev-parse", "HEAD"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    engines = {"fio_engines": ["libaio"]}
    done = builds.play(*products, **{**engines, **variables})
    assert words.format(fio=commit) in message(done), done.stdout


def test_a_submodule_that_is_not_to_be_had_has_a_way_out(builds: Builds) -> None:
    """It is named with its way out; and what stands in for it is recorded."""
    shutil.rmtree(builds.hub.folder / "parts/isa-l")
    shutil.rmtree(builds.root / "cache", ignore_errors=True)
    done = builds.play("spdk", **REFS)
    assert "submodule isa-l: " in message(done)
    assert "submodule_overrides: {isa-l: {url: " in message(done)
    builds.hub.repository("parts/other", {"part": "other"}, "v2")
    stand_in = {"isa-l": {"url": "https://github.com/parts/other", "ref": "v2"}}
    done = builds.play("spdk", **REFS, spdk_submodule_overrides=stand_in)
    assert done.returncode == 0, done.stdout[-6000:]
    stamps = [path.read_text("utf-8") for path in builds.root.glob("builds/spdk/*/build.json")]
    parts = [item for text in stamps for item in json.loads(text)["submodules"]]
    assert [item["path"] for item in parts if item["stand_in"]] == ["isa-l"]
