# SPDX-License-Identifier: GPL-3.0-or-later
"""The module lab_keys, run as Ansible runs it."""

from __future__ import annotations

import functools
from pathlib import Path

from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.modules import lab_keys

run = functools.partial(run_module, lab_keys)


def test_check_then_make_then_nothing(tmp_path: Path) -> None:
    """Check mode foretells the change and makes nothing; the second real run changes nothing."""
    root = str(tmp_path / "lab")
    foretold = run(root=root, _ansible_check_mode=True)
    assert foretold["changed"] is True
    assert not Path(root).exists()
    made = run(root=root)
    assert made["diff"] == foretold["diff"] != []
    assert (made["changed"], made["made"]) == (True, foretold["made"])
    again = run(root=root)
    assert (again["changed"], again["made"]) == (False, [])
    assert Path(again["keys"]["known_hosts"]).read_text().startswith("nvmelab-guest ssh-ed25519 ")


def test_half_a_pair_fails_with_its_name(tmp_path: Path) -> None:
    """The module fails with the message of its core."""
    run(root=str(tmp_path))
    (tmp_path / "keys" / "id_ed25519.pub").unlink()
    result = run(root=str(tmp_path))
    assert result["failed"] is True
    assert "id_ed25519.pub is not" in result["msg"]
