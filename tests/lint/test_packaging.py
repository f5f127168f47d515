# SPDX-License-Identifier: GPL-3.0-or-later
"""The three ways to install: editable (this run), wheel, collection archive."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest


def _run(argv: list[str], cwd: Path, **env: str) -> str:
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    place = tmp_path_factory.mktemp("wheel")
    _run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(checkout)],
        place,
    )
    return next(place.glob("*.whl"))


def test_wheel_carries_the_collection(wheel: Path, checkout: Path) -> None:
    """Every module, role, playbook and experiment of the checkout is in the wheel."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = _run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard",
         "plugins", "roles", "playbooks", "experiments", "meta", "galaxy.yml"],
        checkout,
    ).split()  # fmt: skip
    assert tracked
    missing = [p for p in tracked if f"ansible_collections/nvmelab/bench/{p}" not in names]
    assert missing == []


def test_installed_wheel_finds_its_modules(wheel: Path, tmp_path: Path) -> None:
    """From an environment that knows no checkout, ansible-doc shows modules and roles."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    site = next(place.glob("lib/python*/site-packages"))
    shutil.unpack_archive(wheel, site, "zip")
    # Ansible itself is borrowed from the running environment, minus the editable link.
    borrowed = next(p for p in sys.path if p.endswith("site-packages"))
    code = (
        "import sys; sys.path.append(sys.argv.pop(1));"
        "from ansible.cli.doc import main; sys.argv[0] = 'ansible-doc'; main()"
    )
    home = {"ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)}
    modules = _run(
        [str(place / "bin/python"), "-c", code, borrowed, "-l", "-j", "nvmelab.bench"],
        tmp_path, **home,
    )  # fmt: skip
    assert "nvmelab.bench.fio_facts" in json.loads(modules)
    roles = _run(
        [str(place / "bin/python"), "-c", code, borrowed, "-t", "role", "-l", "-j"],
        tmp_path, **home,
    )  # fmt: skip
    assert "nvmelab.bench.guest_image" in json.loads(roles)


@pytest.fixture(scope="module")
def collection(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ansible-galaxy collection build` makes of this checkout, unpacked."""
    place = tmp_path_factory.mktemp("collection")
    _run(["ansible-galaxy", "collection", "build", "--output-path", str(place)], checkout)
    with tarfile.open(next(place.glob("nvmelab-bench-*.tar.gz"))) as archive:
        archive.extractall(place / "unpacked", filter="data")
    return place / "unpacked"


def test_collection_builds_without_the_workshop(collection: Path) -> None:
    """The archive holds the product and nothing else."""
    tops = {path.name for path in collection.iterdir()}
    assert {"plugins", "roles", "playbooks", "experiments", "docs", "meta", "README.md"} <= tops
    assert tops.isdisjoint({"py", "tests", "molecule", ".venv", ".cache", "results", "inventories"})


def test_links_of_the_collection_lead_somewhere(collection: Path) -> None:
    """What a shipped text links to is shipped, too, and has the heading that it names."""
    dead = []
    texts = sorted(collection.rglob("*.md"))
    assert len(texts) > 20
    for text in texts:
        for link in re.findall(r"\]\(([^)\s]+)\)", text.read_text("utf-8")):
            path, _, heading = link.partition("#")
            if "://" in path:
                continue
            target = text.parent / path if path else text
            if not target.exists() or (heading and heading not in _headings(target)):
                dead.append(f"{text.relative_to(collection)}: {link}")
    assert dead == []


def _headings(text: Path) -> set[str]:
    """Return the headings as links name them."""
    found = re.findall(r"^#+ (.+)$", text.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_documentation_of_every_module_can_be_read(checkout: Path) -> None:
    """ansible-doc reads each module's documentation, examples and return values."""
    modules = [f"nvmelab.bench.{p.stem}" for p in (checkout / "plugins/modules").glob("*.py")]
    assert modules
    shown = json.loads(_run(["ansible-doc", "-j", *modules], checkout))
    for name in modules:
        assert shown[name]["doc"]["short_description"], name
        assert shown[name]["examples"], name
        assert shown[name]["return"], name
