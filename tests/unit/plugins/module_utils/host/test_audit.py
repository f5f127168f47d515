# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked against what is in force, as rows and as one verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_hugepages import FakeKernel
from fake_sysfs import CPU, FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import audit
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import Counts, Pool
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry

LAB = "var/lib/nvmelab"
CMDLINE = "BOOT_IMAGE=/vmlinuz root=/dev/vda ro isolcpus=2-3 quiet"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A machine with frequencies, idle states and a command line."""
    made = FakeHost(tmp_path).frequency().idle()
    made.put("proc/cmdline", CMDLINE)
    return made


def rows_of(host: FakeHost, *, is_run_on: bool = False, **asked: Any) -> dict[str, dict[str, Any]]:
    """The rows of an audit, by setting."""
    found = audit.audit(asked, host.root / LAB, host.root, is_run_on=is_run_on)
    return {row["knob"]: row for row in found}


def test_every_setting_has_one_row(host: FakeHost) -> None:
    """All knobs of the registry in its order, then arguments and pages; nothing is asked here."""
    found = audit.audit({}, host.root / LAB, host.root)
    names = [knob.name for knob in registry.KNOBS]
    assert [row["knob"] for row in found] == [*names, "kernel_cmdline", "hugepages"]
    assert {row["state"] for row in found} <= {"recorded", "unavailable"}
    assert {row["asked"] for row in found} == {None}
    assert audit.verdict(found) == {"state": "clean", "reasons": []}


def test_one_reason_names_every_difference(host: FakeHost) -> None:
    """Three are asked and here, two of them differ; one that the host has not does not count."""
    asked = {"governor": "performance", "boost": True, "smt": False, "energy_perf_bias": 0}
    found = audit.audit({"cpupower": asked}, host.root / LAB, host.root)
    verdict = audit.verdict(found)
    assert verdict["state"] == "tainted"
    assert verdict["reasons"] == [
        {
            "code": "host-state",
            "text": "2 of 3 settings are not as asked: governor powersave (asked performance), "
            "energy_perf_bias 6 (asked 0)",
        }
    ]


def test_clean_when_all_is_as_asked(host: FakeHost) -> None:
    """And what is not available does not taint."""
    found = audit.audit(
        {"cpupower": {"governor": "powersave", "smt": False}}, host.root / LAB, host.root
    )
    assert audit.verdict(found)["state"] == "clean"


def test_latency_is_judged_in_a_run_only(host: FakeHost) -> None:
    """It is held for runs: outside one its absence is no fault of the host."""
    asked = {"dma_latency_us": 0}
    assert rows_of(host, cpupower=asked)["dma_latency_us"]["state"] == "recorded"
    assert rows_of(host, cpupower=asked, is_run_on=True)["dma_latency_us"]["state"] == "differs"


@pytest.mark.parametrize(
    ("wanted", "state", "effective", "text"),
    [
        ([], "recorded", CMDLINE, f"the kernel runs with {CMDLINE}"),
        (["isolcpus=2-3"], "ok", "isolcpus=2-3", "the kernel runs with isolcpus=2-3"),
        (
            ["isolcpus=1-3", "nosmt"],
            "differs",
            "isolcpus=2-3",
            "the running kernel lacks isolcpus=1-3 nosmt, and has isolcpus=2-3; REMEDY",
        ),
        (
            ["nosmt"],
            "differs",
            "none",
            "the running kernel lacks nosmt; REMEDY",
        ),
    ],
)
def test_running_arguments(
    host: FakeHost, wanted: list[str], state: str, effective: str, text: str
) -> None:
    """What runs counts, not what is configured; whole tokens, as the kernel compares them."""
    row = rows_of(host, kernel_cmdline=wanted)["kernel_cmdline"]
    said = text.replace("REMEDY", "role kernel_cmdline sets it at boot")
    assert (row["state"], row["effective"], row["text"]) == (state, effective, said)
    assert row["asked"] == (" ".join(wanted) or None)


def test_impossible_argument_differs(host: FakeHost) -> None:
    """A CPU that this host has not: other hosts are audited all the same, the row says why."""
    row = rows_of(host, kernel_cmdline=["isolcpus=2-9"])["kernel_cmdline"]
    assert row["state"] == "differs"
    assert "this host has the CPUs 0-3" in row["text"]


FIRST = Pool("2M", 0)


@pytest.mark.parametrize(
    ("pages", "state", "text"),
    [
        ([], "recorded", "10 x 2M on node 0 reserved"),
        ([{"page_size": "2M", "count": 6}], "ok", "6 x 2M: all are there"),
        (
            [{"page_size": "2M", "count": 7, "node": 0}],
            "differs",
            "2M pages on node 0: 6 of 7 are free",
        ),
        ([{"page_size": "2M", "count": 1, "node": 5}], "differs", "pages: 2M: found node 5"),
    ],
)
def test_pages_that_are_free_for_us(
    tmp_path: Path, pages: list[dict[str, Any]], state: str, text: str
) -> None:
    """Of 10 reserved 4 are used by others: 6 are there for us."""
    FakeKernel(tmp_path, {FIRST: Counts(total=10, free=6, surplus=0, promised=0)})
    found = audit.audit({"hugepages": pages}, tmp_path / LAB, tmp_path)
    row = found[-1]
    assert (row["knob"], row["state"]) == ("hugepages", state)
    assert row["text"].startswith(text)


def test_own_use_of_the_pages_is_no_shortage(tmp_path: Path) -> None:
    """What was in use before the reservation is in the record: a guest's use does not count."""
    FakeKernel(tmp_path, {FIRST: Counts(total=10, free=0, surplus=0, promised=0)})
    lab = tmp_path / LAB
    lab.mkdir(parents=True)
    before = '{"page_size": "2M", "node": 0, "total": 4, "free": 0, "surplus": 0, "promised": 0}'
    (lab / "hugepages.json").write_text(
        f'{{"schema_version": 1, "boot_id": "boot-1", "before": [{before}], "folders": []}}'
    )
    wish = [{"page_size": "2M", "count": 6}]
    assert audit.audit({"hugepages": wish}, lab, tmp_path)[-1]["state"] == "ok"


def test_kernel_without_hugepages(host: FakeHost) -> None:
    """Not available, which is not a difference."""
    wish = [{"page_size": "1G", "count": 1}]
    assert rows_of(host, hugepages=wish)["hugepages"]["state"] == "unavailable"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpupwer": {}}, "found group 'cpupwer', wanted one of cpupower, quiet_host"),
        ({"cpupower": {"governer": "x"}}, "did you mean 'governor'"),
        ({"cpupower": ["governor"]}, "cpupower: found ['governor'], wanted settings by name"),
        ({"kernel_cmdline": "nosmt"}, "kernel_cmdline: found 'nosmt', wanted a list of arguments"),
        ({"kernel_cmdline": [5]}, "kernel_cmdline: found [5], wanted a list of arguments"),
        ({"hugepages": [{"count": 1}]}, "hugepages[0].page_size: found nothing, wanted 2M or 1G"),
    ],
)
def test_misspelt_wish_is_refused(host: FakeHost, asked: dict[str, Any], message: str) -> None:
    """It would pass for fulfilled otherwise."""
    with pytest.raises(BadInputError) as caught:
        audit.audit(asked, host.root / LAB, host.root)
    assert message in str(caught.value)


def test_changes_name_what_fights_back(host: FakeHost) -> None:
    """Same audit twice: none. A governor that moved under tuned: both, and the culprit."""
    first = audit.audit({}, host.root / LAB, host.root)
    assert audit.changes(first, first) == []
    for cpu in range(host.cpus):
        host.put(f"{CPU}/cpufreq/policy{cpu}/scaling_governor", "performance")
    after = audit.audit({}, host.root / LAB, host.root)
    moved = "governor was powersave before and performance after"
    assert audit.changes(first, after) == [moved]
    before, under_tuned = (
        [row for row in rows if row["knob"] != "tuning_daemons"]
        + [{"knob": "tuning_daemons", "effective": "tuned (profile balanced)"}]
        for rows in (first, after)
    )
    culprit = "tuned (profile balanced)"
    assert audit.changes(before, under_tuned) == [
        f"{moved}; active, and sets such things: {culprit}"
    ]
    began = f"tuning_daemons was none before and {culprit} after"
    assert audit.changes(first, under_tuned) == [moved, began]
