# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped inventories: every variable of theirs is one, and that for vfio-user is enough."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.nvmelab.bench.plugins.module_utils.host import state_request
from ansible_collections.nvmelab.bench.plugins.module_utils.target import spdk
from nvmelab.experiment.document import Experiment, find_experiment, load_experiment
from nvmelab.plan.points import make_plan

# A variable of group_vars or host_vars, also one that is a comment.
_VARIABLE = re.compile(r"^(?:# )?([a-z]\w*_\w+):", re.MULTILINE)
_WORD = re.compile(r"\b[a-z]\w+\b")
_KIB = {"2M": 2 * 1024, "1G": 1024 * 1024}


@pytest.fixture
def wishes(checkout: Path) -> dict[str, Any]:
    """The variables of the inventory for the stack of the notes."""
    text = (checkout / "inventories/vfio-user/group_vars/lab.yml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture
def experiment(
    wishes: dict[str, Any], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> Experiment:
    """The experiment that it names."""
    monkeypatch.chdir(checkout)
    return load_experiment(find_experiment(wishes["nvmelab_experiment"]))


def test_every_variable_is_read_by_a_playbook_or_role(checkout: Path) -> None:
    """A name that nothing reads would promise what does not happen."""
    read = set()
    for folder in ("playbooks", "roles"):
        for path in (checkout / folder).rglob("*.yml"):
            read.update(_WORD.findall(path.read_text("utf-8")))
    written = {
        f"{path.relative_to(checkout)}: {name}": name
        for path in sorted((checkout / "inventories").glob("*/*_vars/*.yml"))
        for name in _VARIABLE.findall(path.read_text("utf-8"))
    }
    assert len(written) > 15
    assert [where for where, name in written.items() if name not in read] == []


def test_its_hugepages_serve_every_target_of_its_experiment(
    wishes: dict[str, Any], experiment: Experiment, checkout: Path
) -> None:
    """With what it asks for reserved, no target is refused, and a client has 512 MiB beside it."""
    profile = yaml.safe_load((checkout / "playbooks/vars/host-state.yml").read_text("utf-8"))
    asked = state_request.asked(
        profile["nvmelab_host_state_default"],
        wishes["nvmelab_host_state"],
        {"layout": {"housekeeping": "0"}, "kernel_args": ["isolcpus=1"]},
    )
    assert asked["kernel_cmdline"] == []  # no boot loader is touched
    assert wishes["nvmelab_tuning"] == "enforce"  # without it nothing is reserved
    reserved_mib = sum(p["count"] * _KIB[p["page_size"]] for p in asked["hugepages"]) // 1024
    plan = make_plan(experiment, None, run_id="20260101T000000Z-vfio-user-upcie-0000")
    needed = [
        spdk._memory_mib(target)
        for environment in plan["environments"].values()
        for target in environment["targets"]
    ]
    assert needed
    assert max(needed) + 512 <= reserved_mib


def test_its_builds_are_all_that_its_experiment_wants(
    wishes: dict[str, Any], experiment: Experiment
) -> None:
    """Each program of the stacks comes of a build that it names, QEMU of its suite."""
    stacks = experiment.stacks.values()
    wanted = {"spdk" for stack in stacks if stack.server.startswith("spdk-")}
    wanted |= {"spdk" for stack in stacks if stack.client != "fio"}
    wanted |= (
        {"xnvme", "fio", "upcie"} if "uio_pci_generic" in {s.driver for s in stacks} else set()
    )
    assert wanted == set(wishes["nvmelab_builds"])
    models = {stack.device.model for stack in stacks}
    assert ("vfio-user-pci" in models) == bool(wishes["qemu_suite"])


def test_the_readme_gives_the_command(checkout: Path) -> None:
    """What README tells to type names an inventory that is there, and its variables as they are."""
    text = (checkout / "README.md").read_text("utf-8")
    for path in re.findall(r"inventories/vfio-user[\w/.-]*", text):
        assert (checkout / path.rstrip(".")).exists(), path
    variables = (checkout / "inventories/vfio-user/group_vars/lab.yml").read_text("utf-8")
    section = text[text.index("## The headline stack") : text.index("## What to edit next")]
    lines = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert len(lines) == 4
    assert [line for line in lines if line not in variables] == []
