# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cpu_layout_info, run as Ansible runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cpu_topologies import machine, make_sysfs
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_request import SMT_POLICIES
from ansible_collections.nvmelab.bench.plugins.modules import cpu_layout_info


def sysfs_of(root: Path, name: str) -> str:
    """The path of a fixture's sysfs."""
    return str(make_sysfs(root / "sys", machine(name)))


def files(root: Path) -> dict[Path, str]:
    """Every file below a folder with its text."""
    return {path: path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("check_mode", [False, True])
def test_returns_layout_picture_arguments_and_pinning(tmp_path: Path, check_mode: bool) -> None:  # noqa: FBT001
    """The reference machine, in check mode as without; nothing is changed."""
    sysfs = sysfs_of(tmp_path, "ryzen-5800x-nosmt")
    before = files(tmp_path)
    result = run_module(
        cpu_layout_info,
        sysfs=sysfs,
        targets=[{"name": "spdk", "cores": 1}],
        guests=[{"vcpus": 4, "iothreads": 1}],
        _ansible_check_mode=check_mode,
    )
    assert result["changed"] is False
    assert result["layout"]["verdict"] == {"state": "clean", "reasons": []}
    assert "T0   target spdk: 2" in result["picture"].splitlines()
    wanted = "isolcpus=2-7 nohz_full=2-7 rcu_nocbs=2-7 irqaffinity=0-1"
    assert " ".join(result["kernel_args"]) == wanted
    assert result["pinning"]["targets"] == [{"name": "spdk", "cpus": "2"}]
    assert [guest["cpus"] for guest in result["pinning"]["guests"]] == ["3-6"]
    assert files(tmp_path) == before


def test_places_near_the_device(tmp_path: Path) -> None:
    """A PCI address becomes the node that the layout keeps to."""
    result = run_module(
        cpu_layout_info,
        sysfs=sysfs_of(tmp_path, "xeon-gold-6338-2s"),
        device="b1:00.0",
        targets=[{"cores": 2}],
    )
    assert result["pinning"]["targets"][0]["cpus"] == "32-33"
    assert "node 1 (the device's)" in result["picture"]


@pytest.mark.parametrize(
    ("params", "message", "missing"),
    [
        ({"targets": [{"cores": 9}]}, "3 more cores", 3),
        ({"targets": [{"cpus": "2,9"}]}, "target0: CPUs 9 are offline", None),
        ({"device": "0000:05:00.0"}, "device 0000:05:00.0", None),
        ({"sysfs": "/nonexistent"}, "/nonexistent", None),
    ],
)
def test_fails_with_the_message_of_its_core(
    tmp_path: Path, params: dict[str, Any], message: str, missing: int | None
) -> None:
    """A refusal is a failure with its reason, and the missing number as a number."""
    result = run_module(
        cpu_layout_info, **{"sysfs": sysfs_of(tmp_path, "ryzen-5800x-nosmt"), **params}
    )
    assert result["failed"] is True
    assert message in result["msg"]
    assert result.get("missing_cores") == missing


def test_runs_on_this_machine() -> None:
    """The real sysfs of whatever machine this is can be laid out."""
    result = run_module(cpu_layout_info, housekeeping_cores=1)
    assert result["layout"]["housekeeping"]


def test_takes_every_policy_there_is() -> None:
    """The module and the core know the same SMT policies."""
    assert tuple(cpu_layout_info.ARGUMENTS["smt"]["choices"]) == SMT_POLICIES
