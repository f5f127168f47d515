# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters, each a test, so that one run tells of all of them."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

COLLECTION = ".collections/ansible_collections/nvmelab/bench"
LINTERS = {
    "ruff": ["ruff", "check", "."],
    "ruff-format": ["ruff", "format", "--check", "."],
    "mypy-package": ["mypy", "-p", "nvmelab"],
    "mypy-plugins": ["mypy", f"{COLLECTION}/plugins/module_utils"],
    "yamllint": ["yamllint", "--strict", "."],
    "ansible-lint": ["ansible-lint", "--offline", "--strict"],
}


@pytest.mark.parametrize("name", LINTERS)
def test_linter_finds_nothing(name: str, checkout: Path) -> None:
    """The linter ends with 0; what it says otherwise is the failure's text."""
    done = subprocess.run(LINTERS[name], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(LINTERS[name])}\n{done.stdout}\n{done.stderr}"


def _roles(checkout: Path) -> list[Path]:
    roles = sorted(path for path in (checkout / "roles").iterdir() if path.is_dir())
    assert roles
    return roles


def test_defaults_and_argument_specs_agree(checkout: Path) -> None:
    """Every input of a role stands in both files, with the same default.

    Ansible applies no default of argument_specs, so a difference would be a lie in the docs.
    """
    differences = []
    for role in _roles(checkout):
        defaults = yaml.safe_load((role / "defaults/main.yml").read_text("utf-8")) or {}
        specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text("utf-8"))
        options: dict[str, dict[str, object]] = {}
        for entry in specs["argument_specs"].values():
            options.update(entry.get("options") or {})
        for name in sorted(set(defaults) | set(options)):
            if name not in options:
                differences.append(f"{role.name}: {name} is not in argument_specs")
            elif name not in defaults:
                if not options[name].get("required") and "default" in options[name]:
                    differences.append(f"{role.name}: {name} has a default in argument_specs only")
            elif options[name].get("default") != defaults[name] and "{{" not in str(defaults[name]):
                differences.append(f"{role.name}: {name} differs")
    assert differences == []


def test_every_input_of_a_role_carries_its_name(checkout: Path) -> None:
    """An input `x` of role `guest` is `guest_x`, so that roles cannot clash in group_vars."""
    strangers = [
        f"{role.name}: {name}"
        for role in _roles(checkout)
        for name in yaml.safe_load((role / "defaults/main.yml").read_text("utf-8")) or {}
        if not name.startswith(f"{role.name}_")
    ]
    assert strangers == []


def test_every_role_says_what_it_is(checkout: Path) -> None:
    """A role has a README that shows how to call it by its full name."""
    for role in _roles(checkout):
        text = (role / "README.md").read_text("utf-8")
        assert f"nvmelab.bench.{role.name}" in text, role.name


def test_spdks_fio_is_the_fio_of_the_same_set(checkout: Path) -> None:
    """SPDK's plugins are loaded only by the fio whose headers they were built with."""
    spdk, fio = (
        yaml.safe_load((checkout / f"roles/{role}/vars/main.yml").read_text("utf-8"))
        for role in ("spdk", "fio")
    )
    named = {
        name: {"ref": pins["fio_ref"], "commit": pins["fio_commit"]}
        for name, pins in spdk["__spdk_sets"].items()
    }
    assert named == fio["__fio_sets"]


def test_no_machine_path_and_no_registry_host(checkout: Path) -> None:
    """Nothing tracked names a path of a developer's machine or the host of a registry."""
    # A class of one letter, lest this line be found itself.
    pattern = "/(work|farm|tmp/[t]eam)/|[.]mirror/|//[a-z.]*(debian|pypi|npmjs)[.](org|com)"
    done = subprocess.run(
        ["git", "grep", "-nIE", "--untracked", pattern, "--", "."],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_messages_name_only_variables_that_are_read(checkout: Path) -> None:
    """What an error advises to set is known to a playbook or a role.

    Looked at are texts of one line with a blank in it. Words of fio, SPDK and xNVMe begin as the
    roles do that are named after them.
    """
    programs = {"fio", "spdk", "xnvme"}
    names = "|".join({role.name for role in _roles(checkout)} - programs)
    variable = re.compile(rf"\b(?:nvmelab|capabilities|{names})_[a-z_0-9]+\b")
    files = [
        path for place in ("roles", "playbooks") for path in checkout.glob(f"{place}/**/*.yml")
    ]
    read = set(variable.findall("".join(path.read_text("utf-8") for path in files)))
    unknown = [
        f"{path.relative_to(checkout)}:{node.lineno}: {word}"
        for place in ("plugins", "py")
        for path in sorted((checkout / place).glob("**/*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if " " in node.value and "\n" not in node.value
        for word in variable.findall(node.value)
        if word not in read
    ]
    assert unknown == []
