# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cpupower as Ansible runs it, on plain files: there, again, refused, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_sysfs import CPU, FakeHost
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry
from ansible_collections.nvmelab.bench.plugins.modules import cpupower

SETTINGS = {"governor": "performance", "boost": False, "idle_latency_max_us": 2}


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A machine whose files are inert: the module runs in a process of its own."""
    return FakeHost(tmp_path / "host").frequency("acpi-cpufreq").idle()


def run(host: FakeHost, *, check: bool = False, **params: Any) -> dict[str, Any]:
    """Return the module's result."""
    ansible = {"_ansible_check_mode": check, "_ansible_diff": True}
    return run_module(cpupower, root=str(host.root), **params, **ansible)


def test_check_then_make_then_nothing_then_back(host: FakeHost) -> None:
    """Check mode foretells exactly and touches nothing; undo leaves the tree as it was."""
    start = host.picture()
    foretold = run(host, check=True, settings=SETTINGS)
    assert host.picture() == start
    made = run(host, settings=SETTINGS)
    assert made == {**foretold, "invocation": made["invocation"]}
    assert host.get(f"{host.policy(3)}/scaling_governor") == "performance"
    assert made["diff"][0] == {
        "before_header": "boost",
        "before": "on\n",
        "after_header": "boost",
        "after": "off\n",
    }
    assert run(host, settings=SETTINGS)["changed"] is False
    assert run(host, state="absent", check=True)["changed"] is True
    assert run(host, state="absent")["changed"] is True
    assert host.picture() == start
    assert run(host, state="absent")["changed"] is False


def test_rows_and_remarks(host: FakeHost) -> None:
    """One row for each setting of the group, and a warning for what the host has not."""
    result = run(host, settings={"energy_perf_bias": 0, "governor": "performance"})
    assert [row["knob"] for row in result["rows"]] == [
        knob.name for knob in registry.by_group("cpupower")
    ]
    row = next(row for row in result["rows"] if row["knob"] == "governor")
    assert row == {
        "knob": "governor",
        "group": "cpupower",
        "asked": "performance",
        "effective": "performance",
        "state": "ok",
        "text": "governor is performance, as asked",
    }
    assert "left out: energy_perf_bias" in result["remarks"][0]
    assert result["remarks"][0] in str(result["warnings"])


def test_the_run_is_recorded(host: FakeHost) -> None:
    """In the lab directory of that machine."""
    run(host, settings=SETTINGS, run_id="run-1", lab_directory="/var/lib/lab")
    content = json.loads((host.root / "var/lib/lab/host_state.json").read_text())
    assert (content["run_id"], content["asked"]) == ("run-1", SETTINGS)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"settings": {"governor": "fast"}}, "'fast': this host offers"),
        ({"settings": {"turbo": True}}, "Unsupported parameters"),
        ({"settings": {"boost": "maybe"}}, "boost"),
        ({"settings": {"cpufreq_driver": "x"}}, "Unsupported parameters"),
    ],
)
def test_refusals_touch_nothing(host: FakeHost, params: dict[str, Any], words: str) -> None:
    """One sentence, and the tree is as before."""
    start = host.picture()
    result = run(host, **params)
    assert result["failed"] is True
    assert words in result["msg"]
    assert host.picture() == start


def test_a_record_in_a_place_for_no_folder(host: FakeHost) -> None:
    """No traceback, and nothing is tuned that could not be remembered."""
    host.put("var/lib/nvmelab", "a file")
    start = host.picture()
    assert "nvmelab" in run(host, settings=SETTINGS)["msg"]
    assert host.picture() == start


def test_settings_are_those_of_the_role_and_the_knobs(checkout: Path) -> None:
    """Module, role and engine know the same settings of one type."""
    specs = (checkout / "roles/cpupower/meta/argument_specs.yml").read_text()
    options = yaml.safe_load(specs)["argument_specs"]["main"]["options"]["cpupower_settings"]
    types = {name: spec["type"] for name, spec in cpupower.SETTINGS.items()}
    assert {name: spec["type"] for name, spec in options["options"].items()} == types
    knobs = [knob.name for knob in registry.by_group("cpupower") if knob.is_settable]
    assert list(types) == knobs


def test_smt_may_be_written_as_yaml_reads_it(host: FakeHost) -> None:
    """On and off are booleans in YAML, and a text in quotes means the same."""
    host.smt("on")
    assert run(host, settings={"smt": "off"}, check=True)["changed"] is True
    run(host, settings=yaml.safe_load("{smt: off}"))
    assert host.get(f"{CPU}/smt/control") == "off"
