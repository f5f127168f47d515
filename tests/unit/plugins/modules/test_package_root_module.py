# SPDX-License-Identifier: GPL-3.0-or-later
"""The module package_root, run as Ansible runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.modules import package_root as module

OPTIONS: dict[str, Any] = {
    "name": "tools",
    "suite": "trixie",
    "packages": ["tools-x86"],
    "programs": ["tool"],
}


def test_check_mode_tells_and_leaves_no_trace(tmp_path: Path) -> None:
    """In check mode the folder that would be made is named and not made."""
    root = tmp_path / "lab"
    result = run_module(module, **OPTIONS, root=str(root), _ansible_check_mode=True)
    assert result["changed"]
    assert result["directory"].startswith(str(root))
    assert result["diff"][0]["after"] == result["directory"] + "\n"
    assert not root.exists()


def test_absent_removes_these_programs_only(tmp_path: Path) -> None:
    """The folder of these inputs goes, that of others stays; a second time changes nothing."""
    directory = Path(
        run_module(module, **OPTIONS, root=str(tmp_path), _ansible_check_mode=True)["directory"]
    )
    other = directory.with_name("other-0123")
    for folder in (directory / "tree", other):
        folder.mkdir(parents=True)
    assert run_module(module, **OPTIONS, root=str(tmp_path), state="absent")["changed"]
    assert not directory.exists()
    assert other.exists()
    assert not run_module(module, **OPTIONS, root=str(tmp_path), state="absent")["changed"]


def test_bad_name_is_refused(tmp_path: Path) -> None:
    """A name that leads elsewhere fails with what was wanted, and makes nothing."""
    result = run_module(module, **{**OPTIONS, "name": "../x"}, root=str(tmp_path))
    assert result["failed"]
    assert "package_root name: found '../x'" in result["msg"]
    assert list(tmp_path.iterdir()) == []
