# SPDX-License-Identifier: GPL-3.0-or-later
"""The named sets of pins, which lie with the roles that build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = ["fio", "qemu", "spdk", "upcie", "xnvme"]
SETS = {"reference", "current"}
# The versions that the reference notes name; their fork of xNVMe has no version.
NOTES = {"fio": "fio-3.40", "qemu": "v10.1.0", "spdk": "v25.05", "upcie": "v0.3.2"}


def document(checkout: Path, role: str, file: str) -> dict[str, Any]:
    """A file of a role."""
    text = (checkout / "roles" / role / file).read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def sets(checkout: Path, role: str) -> dict[str, dict[str, str]]:
    """Set → pins of a role."""
    found: dict[str, dict[str, str]] = document(checkout, role, "vars/main.yml")[f"__{role}_sets"]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_both_sets_are_complete(checkout: Path, role: str) -> None:
    """Each names the same pins, and the role's input offers just these sets."""
    found = sets(checkout, role)
    assert set(found) == SETS
    assert found["reference"].keys() == found["current"].keys() >= {"ref", "commit"}
    options = document(checkout, role, "meta/argument_specs.yml")["argument_specs"]["main"]
    assert set(options["options"][f"{role}_pins"]["choices"]) == SETS
    default = document(checkout, role, "defaults/main.yml")[f"{role}_pins"]
    assert default == "{{ nvmelab_pins | default('reference') }}"


@pytest.mark.parametrize("role", ROLES)
def test_every_pin_is_a_full_commit_beside_its_tag(checkout: Path, role: str) -> None:
    """A tag can be moved and a short hash can become ambiguous; a branch is no pin at all."""
    for name, pins in sets(checkout, role).items():
        for key, value in pins.items():
            if key.endswith("commit"):
                assert re.fullmatch(r"[0-9a-f]{40}", value), (name, key)
            else:
                commit = pins[key.replace("ref", "commit")]
                is_tag = re.fullmatch(r"(v|fio-)\d+(\.\d+)+", value)
                assert is_tag or value == commit, (name, key)


def test_the_reference_set_is_that_of_the_notes(checkout: Path) -> None:
    """Else a run would be compared with figures of other versions."""
    assert {role: sets(checkout, role)["reference"]["ref"] for role in NOTES} == NOTES


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_plugins_are_built_for_the_fio_of_their_set(checkout: Path, name: str) -> None:
    """A fio of another version refuses them."""
    spdk, fio = sets(checkout, "spdk")[name], sets(checkout, "fio")[name]
    assert (spdk["fio_ref"], spdk["fio_commit"]) == (fio["ref"], fio["commit"])


def test_a_name_means_one_commit(checkout: Path) -> None:
    """The same tag of a repository does not stand beside two hashes."""
    meant: dict[tuple[str, str], set[str]] = {}
    for role in ROLES:
        for pins in sets(checkout, role).values():
            meant.setdefault((role, pins["ref"]), set()).add(pins["commit"])
            if "tools_ref" in pins:
                meant.setdefault((role, pins["tools_ref"]), set()).add(pins["tools_commit"])
    assert [key for key, commits in meant.items() if len(commits) > 1] == []


@pytest.mark.parametrize("role", ROLES)
def test_sources_are_the_public_ones(checkout: Path, role: str) -> None:
    """Where a lab fetches from instead is its own to say."""
    defaults = document(checkout, role, "defaults/main.yml")
    urls = {name: value for name, value in defaults.items() if name.endswith("_url") and value}
    assert f"{role}_url" in urls
    assert all(re.match(r"https://git(hub|lab)\.com/", value) for value in urls.values()), urls
