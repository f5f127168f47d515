# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a host's state: modes, changes to the profile, and refusals by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import state_request
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry

DEFAULT: dict[str, Any] = {
    "cpupower": {"governor": "performance", "boost": False, "smt": None},
    "quiet_host": {"ksm": False},
    "kernel_cmdline": [],
    "hugepages": [],
}


@pytest.fixture(scope="module")
def profile(checkout: Path) -> dict[str, Any]:
    """The shipped profile."""
    text = (checkout / "playbooks/vars/host-state.yml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["nvmelab_host_state_default"]
    return found


@pytest.mark.parametrize("group", ["cpupower", "quiet_host"])
def test_profile_names_every_setting(profile: dict[str, Any], group: str) -> None:
    """What can be asked for and what the profile lists are the same, group by group."""
    known = {knob.name for knob in registry.by_group(group) if knob.is_settable}
    assert set(profile[group]) == known


def test_profile_asks_for_nothing_that_needs_a_reboot_or_memory(profile: dict[str, Any]) -> None:
    """Kernel arguments, hugepages, swap, SMT and protections are for users to ask for."""
    assert profile["kernel_cmdline"] == profile["hugepages"] == []
    assert profile["cpupower"]["smt"] is None
    assert profile["quiet_host"]["swap"] is None
    assert profile["quiet_host"]["aslr"] is None


@pytest.mark.parametrize("mode", ["off", "audit", "enforce"])
def test_modes(mode: str) -> None:
    """A mode is itself, also as YAML 1.1 reads it from an inventory."""
    assert state_request.tuning_mode(yaml.safe_load(mode)) == mode
    assert state_request.tuning_mode(mode) == mode


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("enforced", "did you mean 'enforce'?"),
        ("Audit", "did you mean 'audit'?"),
        (True, "found True, wanted off, audit or enforce"),
        (None, "found None"),
        (0, "found 0"),
        ("", "found ''"),
        (["audit"], "wanted off, audit or enforce"),
    ],
)
def test_other_modes_are_refused(found: object, said: str) -> None:
    """The message names the variable, what was found, and what was wanted."""
    with pytest.raises(BadInputError, match=r"^nvmelab_tuning: ") as caught:
        state_request.tuning_mode(found)
    assert said in str(caught.value)


def test_changes_touch_only_what_they_name() -> None:
    """A change replaces one wish, null takes one away, and the profile itself stays as it is."""
    pages = [{"page_size": "2M", "count": 1}]
    changes = {"cpupower": {"boost": True, "governor": None}, "hugepages": pages}
    assert state_request.asked(DEFAULT, changes) == {
        "cpupower": {"governor": None, "boost": True, "smt": None},
        "quiet_host": {"ksm": False},
        "kernel_cmdline": [],
        "hugepages": pages,
    }
    assert DEFAULT["cpupower"]["boost"] is False
    assert DEFAULT["hugepages"] == []


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_changes(nothing: object) -> None:
    """A variable without content, all of it commented out, changes nothing."""
    assert state_request.asked(DEFAULT, nothing) == DEFAULT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cpupowr": {}}, "nvmelab_host_state: no group 'cpupowr', wanted one of cpupower, "),
        ({"cpupower": {"governer": "x"}}, "nvmelab_host_state.cpupower: no setting 'governer'"),
        ({"cpupower": {"governer": "x"}}, "did you mean 'governor'?"),
        ({"cpupower": None}, "nvmelab_host_state.cpupower: found None"),
        ({"cpupower": ["governor"]}, "wanted settings by name"),
        ({"cpupower": {"governor": ["a"]}}, "cpupower.governor: found ['a'], wanted one value"),
        ({"quiet_host": {True: 1}}, "no setting True"),
        ({"kernel_cmdline": "nosmt quiet"}, "found 'nosmt quiet', wanted a list of arguments"),
        ({"hugepages": "2M"}, "hugepages: found '2M', wanted a list of wishes"),
        ({"hugepages": 0}, "hugepages: found 0, wanted a list of wishes"),
        (
            {"hugepages": [{"page_size": "3M", "count": 1}]},
            "nvmelab_host_state.hugepages[0].page_size: found '3M', wanted 2M or 1G",
        ),
        ("boost", "nvmelab_host_state: found 'boost', wanted settings by name"),
    ],
)
def test_what_does_not_exist_is_refused(changes: object, said: str) -> None:
    """The message names the key, what was found and what is allowed."""
    with pytest.raises(BadInputError) as caught:
        state_request.asked(DEFAULT, changes)
    assert said in str(caught.value)


def test_a_cpu_layout_asks_for_what_goes_with_it() -> None:
    """Housekeeping CPUs take interrupts and work queues unless the user says otherwise."""
    quiet = {"irq_cpus": None, "workqueue_cpus": None}
    cpus = {"layout": {"housekeeping": "0-1"}, "kernel_args": ["isolcpus=2-7", "nohz_full=2-7"]}
    changes = {"quiet_host": {"workqueue_cpus": None}, "kernel_cmdline": ["nosmt", "nohz_full=2-7"]}
    found = state_request.asked({**DEFAULT, "quiet_host": quiet}, changes, cpus)
    assert found["quiet_host"] == {"irq_cpus": "0-1", "workqueue_cpus": None}
    assert found["kernel_cmdline"] == ["nosmt", "nohz_full=2-7", "isolcpus=2-7"]


def test_a_cpu_layout_yields_to_the_user() -> None:
    """Interrupts stay where the user asks for them."""
    profile = {**DEFAULT, "quiet_host": {"irq_cpus": None, "workqueue_cpus": "3"}}
    cpus = {"layout": {"housekeeping": "0-1"}, "kernel_args": []}
    found = state_request.asked(profile, {"quiet_host": {"irq_cpus": "2"}}, cpus)
    assert found["quiet_host"] == {"irq_cpus": "2", "workqueue_cpus": "3"}


@pytest.mark.parametrize(("change", "asked"), [(None, []), ([], ["isolcpus=2-7"])])
def test_null_keeps_the_kernel_as_it_is_booted(change: object, asked: list[str]) -> None:
    """Null asks for nothing, so also not for a layout's arguments; an empty list adds none."""
    quiet = {"irq_cpus": None, "workqueue_cpus": None}
    cpus = {"layout": {"housekeeping": "0-1"}, "kernel_args": ["isolcpus=2-7"]}
    profile = {**DEFAULT, "quiet_host": quiet}
    found = state_request.asked(profile, {"kernel_cmdline": change}, cpus)
    assert found["kernel_cmdline"] == asked
    assert found["quiet_host"]["irq_cpus"] == "0-1"


def test_every_fault_is_named() -> None:
    """Two faults give two lines, so that one turn mends both."""
    with pytest.raises(BadInputError) as caught:
        state_request.asked(DEFAULT, {"cpupower": {"bost": True}, "quiet": {}})
    assert len(str(caught.value).splitlines()) == 2
